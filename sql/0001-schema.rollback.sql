DROP FUNCTION rowhook.give_to_capture_owner(text);
DROP FUNCTION rowhook.capture_owner();
DROP FUNCTION rowhook.public_id(text, timestamptz, bigint, smallint);
DROP SCHEMA rowhook;

-- The role is the cluster's: it stays while another database still uses it.
DO $do$
BEGIN
    DROP ROLE IF EXISTS rowhook_capture;
EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    NULL;
END
$do$;
