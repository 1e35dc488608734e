DROP FUNCTION rowhook.key_payload_sql(rowhook.capture, text);
DROP FUNCTION rowhook.holds_sql(rowhook.capture, text);
DROP FUNCTION rowhook.payload_sql(rowhook.capture, text, text);
DROP FUNCTION rowhook.grants_sql(rowhook.capture);
DROP FUNCTION rowhook.enrichments(rowhook.capture);
DROP FUNCTION rowhook.redacted_sql(text, text);
DROP FUNCTION rowhook.captured_columns(rowhook.capture);
DROP FUNCTION rowhook.tenant_sql(text, text);
DROP FUNCTION rowhook.key_sql(text, text[]);
