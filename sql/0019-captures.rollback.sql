DROP FUNCTION rowhook.uncapture(regclass);
DROP FUNCTION rowhook.capture(regclass, text, text[], text[], text[], text[], text, text, boolean, jsonb, integer, jsonb, text);
DROP FUNCTION rowhook.begun(rowhook.capture);
DROP FUNCTION rowhook.capture_is_whole(rowhook.capture);
DROP FUNCTION rowhook.capture_plan(regclass, text, text[], text[], text[], text[], text, text, boolean, jsonb, integer, jsonb, text);
DROP FUNCTION rowhook.json_casts(regclass);
DROP FUNCTION rowhook.check_source(regclass);
DROP FUNCTION rowhook.capture_mode(regclass, text[]);
