-- The schema, the role that owns trigger functions, and public ids.
--
-- Everything of Rowhook's lives in schema "rowhook"; the application's roles need no right on it, because the trigger
-- functions are SECURITY DEFINER. They belong to a NOLOGIN role which may only insert events and read the doorbell: a
-- table owner's own enum->json cast runs as the definer inside row_to_json, so a powerful owner would be an escalation.
-- Where the migrating role may not create roles, the functions belong to that role, and a WARNING says so.

CREATE SCHEMA rowhook;
COMMENT ON SCHEMA rowhook IS 'Rowhook: committed rows become signed webhooks';

DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rowhook_capture') THEN
        CREATE ROLE rowhook_capture NOLOGIN;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'role % may not create roles: capture functions will belong to it', current_user
            USING HINT = 'Let a superuser run: CREATE ROLE rowhook_capture NOLOGIN; GRANT rowhook_capture TO '
                || quote_ident(current_user);
    WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database of this cluster made it at the same moment
END
$do$;

-- ALTER FUNCTION … OWNER needs membership, and from Postgres 16 on the SET option; who creates a role only gets ADMIN.
DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rowhook_capture')
       AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT rowhook_capture TO %I%s', current_user,
            CASE WHEN current_setting('server_version_num')::int >= 160000 THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END);
    END IF;
EXCEPTION WHEN insufficient_privilege OR invalid_grant_operation THEN
    RAISE WARNING 'role % is not a member of rowhook_capture: capture functions will belong to it', current_user;
END
$do$;

DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rowhook_capture') THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_capture;
    END IF;
END
$do$;

CREATE FUNCTION rowhook.public_id(prefix text, made_at timestamptz, id bigint, slot smallint DEFAULT 0)
RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- 130 bits in 26 characters of Crockford's base 32, as a ULID: 2 zero bits, 48 of milliseconds, 64 of id, 16 of slot.
    SELECT public_id.prefix || '_' || string_agg(
               substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(b.bits FROM i * 5 + 1 FOR 5)::bit(5)::int + 1, 1),
               '' ORDER BY i)
      FROM (SELECT B'00'
                   || floor(extract(epoch FROM public_id.made_at) * 1000)::bigint::bit(48)
                   || public_id.id::bit(64)
                   || public_id.slot::int::bit(16) AS bits) AS b,
           generate_series(0, 25) AS i
$fn$;
COMMENT ON FUNCTION rowhook.public_id(text, timestamptz, bigint, smallint) IS
    'A sortable public id (evt_, end_, dlv_) from time, id and slot; relay/public_id.py computes the same';

CREATE FUNCTION rowhook.capture_owner() RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowhook_capture')
                 AND pg_has_role(current_user, 'rowhook_capture', 'MEMBER')
                THEN 'rowhook_capture' ELSE current_user::text END
$fn$;
COMMENT ON FUNCTION rowhook.capture_owner() IS 'Which role capture functions belong to';

CREATE FUNCTION rowhook.give_to_capture_owner(signature text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _owner text := rowhook.capture_owner();
BEGIN
    IF _owner <> current_user THEN
        -- The new owner must be able to create in the schema at this moment, and at no other.
        EXECUTE format('GRANT CREATE ON SCHEMA rowhook TO %I', _owner);
        EXECUTE format('ALTER FUNCTION %s OWNER TO %I', signature, _owner);
        EXECUTE format('REVOKE CREATE ON SCHEMA rowhook FROM %I', _owner);
    END IF;
END
$fn$;
COMMENT ON FUNCTION rowhook.give_to_capture_owner(text) IS 'Make a trigger function belong to the role without power';
