-- Roles without power: one owns the trigger functions, one delivers, one reads.
-- depends: 0010-views
--
-- docs/security.md has the table of what each may do. Roles are the cluster's: what another database made is used, and whoever
-- migrates need not be able to make them. What is weaker then, a WARNING says; rowhook.set_up_roles() makes up for it later, and
-- after a restore into a cluster that has no such roles.

CREATE FUNCTION rowhook.make_role(name text, otherwise text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = make_role.name) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', make_role.name);
    ELSIF EXISTS (SELECT FROM pg_roles AS r
                   WHERE r.rolname = make_role.name
                     AND (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
                          OR EXISTS (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid))) THEN
        RAISE WARNING 'role % has powers beyond those that it is for', make_role.name
            USING HINT = format('It should have no attribute (LOGIN, SUPERUSER, …) and be a member of no role: \du %s', make_role.name);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'role % may not create role %: %', current_user, make_role.name, make_role.otherwise
            USING HINT = format('Let a superuser run: CREATE ROLE %I NOLOGIN%s; and then: SELECT rowhook.set_up_roles()', make_role.name,
                CASE WHEN make_role.name = 'rowhook_capture' THEN format('; GRANT rowhook_capture TO %I', current_user) ELSE '' END);
    WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database of this cluster made it at the same moment
END
$fn$;
COMMENT ON FUNCTION rowhook.make_role(text, text) IS 'Make a NOLOGIN role, or say what is weaker without it';

CREATE FUNCTION rowhook.join_capture_role() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- ALTER FUNCTION … OWNER needs membership, and from Postgres 16 on the SET option; who creates a role only gets ADMIN.
    IF EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'rowhook_capture')
       AND NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        EXECUTE format('GRANT rowhook_capture TO %I%s', current_user,
            CASE WHEN current_setting('server_version_num')::int >= 160000 THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END);
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR invalid_grant_operation THEN
        IF NOT pg_has_role(current_user, 'rowhook_capture', 'MEMBER') THEN
            RAISE WARNING 'role % is not a member of rowhook_capture: capture functions belong to it, and what a table''s owner '
                'defined (casts) runs with its rights', current_user
                USING HINT = format('Let a superuser run: GRANT rowhook_capture TO %I; and then: SELECT rowhook.set_up_roles()', current_user);
        END IF;
    WHEN unique_violation THEN
        NULL;  -- this role is migrating another database at the same moment
END
$fn$;
COMMENT ON FUNCTION rowhook.join_capture_role() IS 'Make the migrating role a member of rowhook_capture, so that it can give functions to it';

CREATE FUNCTION rowhook.grant_to_roles() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _view regclass;
BEGIN
    IF to_regrole('rowhook_capture') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_capture;
        GRANT INSERT ON rowhook.event, rowhook.capture_failure TO rowhook_capture;
        GRANT SELECT ON SEQUENCE rowhook.doorbell, rowhook.present_slot TO rowhook_capture;
        GRANT EXECUTE ON FUNCTION rowhook.ring(), rowhook.changed(json, json), rowhook.changed_columns(json, json), rowhook.readable(json)
            TO rowhook_capture;
        -- Made by a later migration, which calls this again.
        IF to_regclass('rowhook.chain') IS NOT NULL THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON rowhook.chain TO rowhook_capture;
            GRANT EXECUTE ON FUNCTION rowhook.session_context(), rowhook.skips(), rowhook.loop_limit(), rowhook.loops(text, text, text, text),
                rowhook.looped(text, text, text, text) TO rowhook_capture;
        END IF;
    END IF;
    IF to_regrole('rowhook_relay') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_relay;
        -- Of an event nothing can be changed but, after a restore into another cluster, the transaction id.
        GRANT SELECT, INSERT, UPDATE (xid) ON rowhook.event TO rowhook_relay;
        GRANT SELECT, INSERT, UPDATE ON rowhook.endpoint, rowhook.secret, rowhook.delivery, rowhook.attempt TO rowhook_relay;
        GRANT SELECT, INSERT, UPDATE, DELETE ON rowhook.instance TO rowhook_relay;
        GRANT SELECT, INSERT, UPDATE ON rowhook.rate_clock TO rowhook_relay;
        GRANT SELECT, UPDATE ON rowhook.cursor TO rowhook_relay;
        GRANT SELECT, UPDATE (xid) ON rowhook.horizon TO rowhook_relay;
        GRANT UPDATE (rung_at) ON rowhook.probe TO rowhook_relay;
        GRANT SELECT, UPDATE ON SEQUENCE rowhook.doorbell, rowhook.present_slot TO rowhook_relay;
        GRANT USAGE ON SEQUENCE rowhook.secret_id_seq TO rowhook_relay;
        GRANT SELECT ON SEQUENCE rowhook.attempt_id_seq TO rowhook_relay;  -- how far recording has come, for those who stream
        -- The API's catalog of event types, and what it is asked to emit.
        GRANT SELECT ON rowhook.capture, rowhook.rule TO rowhook_relay;
        IF to_regclass('rowhook.schema_version') IS NOT NULL THEN
            PERFORM rowhook.grant_versions();
        END IF;
        GRANT EXECUTE ON FUNCTION rowhook.emit(text, json, text, text), rowhook.refuse(text, text) TO rowhook_relay;
        GRANT EXECUTE ON FUNCTION rowhook.ring(), rowhook.public_id(text, timestamptz, bigint, smallint),
            rowhook.pattern_candidates(text), rowhook.rate_gap(text), rowhook.filters_take_too_long(boolean),
            rowhook.filter_fault(text), rowhook.filter_pairs(text), rowhook.filter_values(text), rowhook.filter_document(text, json, json, json),
            rowhook.filter_verdict(text, jsonb), rowhook.filter_verdict(text, text, json, json, json) TO rowhook_relay;
        IF to_regclass('rowhook.ring') IS NOT NULL THEN
            PERFORM rowhook.grant_retention();
        END IF;
        IF to_regclass('rowhook.chain') IS NOT NULL THEN  -- emit() asks what the session says
            GRANT EXECUTE ON FUNCTION rowhook.session_context() TO rowhook_relay;
        END IF;
        -- Made by a later migration, which calls this again. The log is added to, and never mended.
        IF to_regclass('rowhook.admin_log') IS NOT NULL THEN
            GRANT SELECT, INSERT ON rowhook.admin_log TO rowhook_relay;
            GRANT SELECT, INSERT, UPDATE, DELETE ON rowhook.idempotency TO rowhook_relay;
        END IF;
        IF to_regclass('rowhook.backfill') IS NOT NULL THEN
            PERFORM rowhook.grant_past();
        END IF;
        IF to_regprocedure('rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[])') IS NOT NULL THEN
            GRANT EXECUTE ON FUNCTION rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[]) TO rowhook_relay;
        END IF;
        PERFORM rowhook.grant_record_to_relay();
    END IF;
    IF to_regrole('rowhook_skip') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_skip;  -- so that it stays while any database of the cluster has it
    END IF;
    IF to_regrole('rowhook_reader') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA rowhook TO rowhook_reader;
        -- A view reads its tables as its owner, but calls functions as who asks.
        GRANT EXECUTE ON FUNCTION rowhook.public_id(text, timestamptz, bigint, smallint) TO rowhook_reader;
        FOR _view IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'rowhook'::regnamespace AND c.relkind = 'v' LOOP
            EXECUTE format('GRANT SELECT ON %s TO rowhook_reader', _view);
        END LOOP;
    END IF;
END
$fn$;
COMMENT ON FUNCTION rowhook.grant_to_roles() IS 'Every right that the three roles have in this database';

CREATE FUNCTION rowhook.grant_record_to_relay() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _record record;
BEGIN
    -- The record of migrations, which a relay reads when it starts, is where new tables went when it was made.
    FOR _record IN
        SELECT c.oid::regclass AS name, n.nspname AS schema
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relname = '_yoyo_migration' AND c.relkind = 'r' AND c.relpersistence <> 't'
           AND pg_has_role(current_user, c.relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT SELECT (migration_id) ON %s TO rowhook_relay', _record.name);
        IF NOT has_schema_privilege('rowhook_relay', _record.schema, 'USAGE') THEN
            BEGIN
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO rowhook_relay', _record.schema);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE WARNING 'role % may not let rowhook_relay into schema %, where the record of migrations is', current_user, _record.schema
                    USING HINT = format('Let its owner run: GRANT USAGE ON SCHEMA %I TO rowhook_relay', _record.schema);
            END;
        END IF;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.grant_record_to_relay() IS 'Let rowhook_relay see which migrations were applied';

CREATE FUNCTION rowhook.set_up_roles() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _function regprocedure;
BEGIN
    PERFORM rowhook.make_role('rowhook_capture',
        format('capture functions belong to %I, and what a table''s owner defined (casts) runs with its rights', current_user));
    PERFORM rowhook.make_role('rowhook_relay', 'relays have to log in as a role that owns the schema, or has all rights on it');
    PERFORM rowhook.make_role('rowhook_reader', 'who may only read has to be granted the views one by one');
    PERFORM rowhook.make_role('rowhook_skip', 'nobody but a superuser may write uncaptured (rowhook.skip)');
    PERFORM rowhook.join_capture_role();
    PERFORM rowhook.grant_to_roles();
    FOR _function IN
        SELECT p.oid FROM pg_proc AS p
         WHERE p.pronamespace = 'rowhook'::regnamespace AND p.prosecdef AND pg_has_role(current_user, p.proowner, 'USAGE')
           AND p.prorettype <> 'event_trigger'::regtype  -- that one captures: it stays with who migrates
           AND pg_get_userbyid(p.proowner) <> rowhook.capture_owner()
    LOOP
        PERFORM rowhook.give_to_capture_owner(_function::text);
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.set_up_roles() IS 'Make the roles that are missing, grant what they are for, give them the trigger functions; any time again';

-- Who may use the schema may not, for that, call its functions: with a trigger function of a capture they could forge its events.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowhook FROM PUBLIC;

SELECT rowhook.set_up_roles();
