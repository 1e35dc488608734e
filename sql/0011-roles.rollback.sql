DO $do$
DECLARE
    _record record;
BEGIN
    IF pg_catalog.to_regrole('rowhook_relay') IS NOT NULL THEN
        FOR _record IN
            SELECT c.oid::regclass AS name, n.nspname AS schema,
                   EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) AS a WHERE a.grantee = 'rowhook_relay'::regrole) AS granted
              FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.relname = '_yoyo_migration' AND c.relkind = 'r' AND c.relpersistence <> 't'
               AND pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')
        LOOP
            EXECUTE pg_catalog.format('REVOKE SELECT (migration_id) ON %s FROM rowhook_relay', _record.name);
            IF _record.granted THEN
                EXECUTE pg_catalog.format('REVOKE USAGE ON SCHEMA %I FROM rowhook_relay', _record.schema);
            END IF;
        END LOOP;
    END IF;
END
$do$;
DROP FUNCTION rowhook.set_up_roles();
DROP FUNCTION rowhook.grant_record_to_relay();
DROP FUNCTION rowhook.grant_to_roles();
DROP FUNCTION rowhook.join_capture_role();
DROP FUNCTION rowhook.make_role(text, text);
