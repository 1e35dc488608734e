DROP FUNCTION rowhook.log_of(rowhook.capture);
DROP FUNCTION rowhook.verify(regclass, text);
DROP FUNCTION rowhook.verify_sql(rowhook.capture, bigint, boolean, text);
DROP FUNCTION rowhook.told_sql(rowhook.capture, bigint);
DROP FUNCTION rowhook.check_verifiable(rowhook.capture);
DROP FUNCTION rowhook.compared(json, json, text, text[]);
DROP FUNCTION rowhook.old_key(rowhook.event, text[], regtype[]);
DROP FUNCTION rowhook.key_of(text[], regtype[]);
DROP TYPE rowhook.comparison;
