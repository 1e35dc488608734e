-- Where it is another role's, that one has to drop it first: this says so.
DROP EVENT TRIGGER IF EXISTS rowhook_follow_ddl;

-- Recipes and captures go first, while all that this takes is there.
DO $do$
BEGIN
    IF to_regprocedure('rowhook.remove_finmind()') IS NOT NULL THEN
        PERFORM rowhook.remove_finmind();
    END IF;
END
$do$;
SELECT rowhook.uncapture(c.table_name, c.name) FROM rowhook.capture AS c;
DROP FUNCTION rowhook.grant_versions();
DROP FUNCTION rowhook.watch_ddl();
DROP FUNCTION rowhook.follow_ddl();
DROP FUNCTION rowhook.concerned(text, oid[]);
DROP FUNCTION rowhook.follow(rowhook.capture);
DROP FUNCTION rowhook.is_behind(rowhook.capture);
DROP FUNCTION rowhook.holds_exclusively(regclass);
DROP FUNCTION rowhook.note_version(rowhook.capture, boolean);
DROP FUNCTION rowhook.types_of(rowhook.capture);
DROP FUNCTION rowhook.schema_changes(jsonb, jsonb, boolean);
DROP FUNCTION rowhook.is_wider(text, text);
DROP FUNCTION rowhook.body_columns(rowhook.capture);
DROP FUNCTION rowhook.set_aside(rowhook.capture);
DROP FUNCTION rowhook.lacks_rights(rowhook.capture, text);
DROP FUNCTION rowhook.followed(rowhook.capture);
DROP FUNCTION rowhook.renamed(rowhook.capture, text);
DROP FUNCTION rowhook.known_of(rowhook.capture);
DROP FUNCTION rowhook.origin_of(regclass);
DROP TABLE rowhook.schema_version;
