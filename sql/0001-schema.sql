-- The schema, public ids, and to whom trigger functions belong.
--
-- Everything of Rowhook's lives in schema "rowhook"; the application's roles need no right on it, because the trigger
-- functions are SECURITY DEFINER. They belong to a NOLOGIN role which may only insert events and read the doorbell
-- (0011-roles): a table owner's own enum->json cast runs as the definer inside row_to_json, so a powerful owner would be
-- an escalation. Where there is no such role, they belong to the role that migrates or captures.

CREATE SCHEMA rowhook;
COMMENT ON SCHEMA rowhook IS 'Rowhook: committed rows become signed webhooks';

CREATE FUNCTION rowhook.public_id(prefix text, made_at timestamptz, id bigint, slot smallint DEFAULT 0)
RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- 130 bits in 26 characters of Crockford's base 32, as a ULID: 2 zero bits, 48 of milliseconds, 64 of id, 16 of slot.
    SELECT public_id.prefix || '_' || string_agg(
               substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(b.bits FROM i * 5 + 1 FOR 5)::bit(5)::int + 1, 1),
               '' ORDER BY i)
      FROM (SELECT B'00'
                   || CASE WHEN isfinite(public_id.made_at) THEN floor(extract(epoch FROM public_id.made_at) * 1000)::bigint
                           ELSE -1 END::bit(48)
                   || public_id.id::bit(64)
                   || public_id.slot::int::bit(16) AS bits) AS b,
           generate_series(0, 25) AS i
$fn$;
COMMENT ON FUNCTION rowhook.public_id(text, timestamptz, bigint, smallint) IS
    'A sortable public id (evt_, end_, dlv_) from time, id and slot; relay/public_id.py computes the same';

CREATE FUNCTION rowhook.capture_owner() RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Only once it has its rights: otherwise each captured write would fail.
    SELECT coalesce((SELECT r.rolname::text FROM pg_roles AS r
                      WHERE r.rolname = 'rowhook_capture' AND pg_has_role(current_user, r.oid, 'MEMBER')
                        AND has_table_privilege(r.oid, 'rowhook.event', 'INSERT')), current_user::text)
$fn$;
COMMENT ON FUNCTION rowhook.capture_owner() IS 'Which role capture functions belong to';

CREATE FUNCTION rowhook.give_to_capture_owner(signature text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _owner text := rowhook.capture_owner();
BEGIN
    -- A trigger function needs no EXECUTE to be run by its trigger; who has it could bind the function to a table of theirs.
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', signature);
    IF pg_get_userbyid((SELECT p.proowner FROM pg_proc AS p WHERE p.oid = signature::regprocedure)) = _owner THEN
        NULL;  -- made anew, it keeps its owner
    ELSIF (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        EXECUTE format('ALTER FUNCTION %s OWNER TO %I', signature, _owner);
    ELSIF _owner <> current_user THEN
        -- The new owner must be able to create in the schema at this moment, and at no other.
        EXECUTE format('GRANT CREATE ON SCHEMA rowhook TO %I', _owner);
        EXECUTE format('ALTER FUNCTION %s OWNER TO %I', signature, _owner);
        EXECUTE format('REVOKE CREATE ON SCHEMA rowhook FROM %I', _owner);
    END IF;
END
$fn$;
COMMENT ON FUNCTION rowhook.give_to_capture_owner(text) IS 'Make a trigger function belong to the role without power';
