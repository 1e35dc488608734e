DROP FUNCTION rowhook.revoke_enrichments(rowhook.capture, rowhook.capture);
DROP FUNCTION rowhook.check_enrich(rowhook.capture);
DROP FUNCTION rowhook.check_redact(rowhook.capture);
