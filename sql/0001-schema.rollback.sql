DROP FUNCTION rowhook.give_to_capture_owner(text);
DROP FUNCTION rowhook.capture_owner();
DROP FUNCTION rowhook.public_id(text, timestamptz, bigint, smallint);
DROP SCHEMA rowhook;

-- Roles are the cluster's: one stays while another database still uses it, or where this role may not drop it.
DO $do$
DECLARE
    _role text;
BEGIN
    FOREACH _role IN ARRAY '{rowhook_capture,rowhook_relay,rowhook_reader,rowhook_skip}'::text[] LOOP
        BEGIN
            EXECUTE pg_catalog.format('DROP ROLE IF EXISTS %I', _role);
        EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END
$do$;
