-- What a writer's session says of itself, kept with its events; who may write uncaptured; the guard against loops.
-- depends: 0021-columns
--
-- SET LOCAL rowhook.actor, rowhook.correlation_id, rowhook.traceparent, rowhook.context (a JSON object), rowhook.skip. Anybody may set
-- them to anything: nothing of it may fail a write.

CREATE FUNCTION rowhook.session_context() RETURNS json LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _given       text := nullif(current_setting('rowhook.context', true), '');
    _traceparent text := nullif(current_setting('rowhook.traceparent', true), '');
    _context     jsonb := '{}';
    _ignored     text[] := '{}';
BEGIN
    IF _given IS NOT NULL THEN
        BEGIN
            _context := _given::jsonb;
        EXCEPTION WHEN OTHERS THEN
            _context := 'null';
        END;
        IF jsonb_typeof(_context) <> 'object' OR octet_length(_given) > 4096 THEN
            _context := '{}';
            _ignored := _ignored || 'rowhook.context is not a JSON object of at most 4096 bytes'::text;
        END IF;
    END IF;
    IF _traceparent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        _traceparent := NULL;
        _ignored := _ignored || 'rowhook.traceparent is not one of W3C Trace Context'::text;
    END IF;
    _context := _context || jsonb_strip_nulls(jsonb_build_object(
        'actor', nullif(left(current_setting('rowhook.actor', true), 200), ''),
        'correlation_id', nullif(left(current_setting('rowhook.correlation_id', true), 200), ''),
        'traceparent', _traceparent, 'ignored', CASE WHEN _ignored <> '{}' THEN to_jsonb(_ignored) END));
    RETURN nullif(_context, '{}')::json;
END
$fn$;
COMMENT ON FUNCTION rowhook.session_context() IS 'What the session says of itself as an event''s context; null: nothing';

CREATE FUNCTION rowhook.skips() RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- By who logged in: who a function runs as, or SET ROLE says, does not count.
    SELECT lower(current_setting('rowhook.skip', true)) IN ('on', 'true', 'yes', '1')
       AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'rowhook_skip' AND pg_has_role(session_user, r.oid, 'MEMBER'))
$fn$;
COMMENT ON FUNCTION rowhook.skips() IS 'Whether the session''s writes make no events: it says so, and is a member of rowhook_skip';

CREATE TABLE rowhook.chain (
    correlation_id text        NOT NULL,
    type           text        NOT NULL,
    table_name     text        NOT NULL,
    row_key        text        NOT NULL,
    last_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen           integer     NOT NULL DEFAULT 1,
    CONSTRAINT chain_pkey PRIMARY KEY (correlation_id, type, table_name, row_key)
);
CREATE INDEX chain_by_age ON rowhook.chain (last_at);
COMMENT ON TABLE rowhook.chain IS 'How often a correlation id has come by a row with one type; forgotten a day after the last time';
COMMENT ON COLUMN rowhook.chain.correlation_id IS 'What the events of a chain have in common';
COMMENT ON COLUMN rowhook.chain.type IS 'Event type';
COMMENT ON COLUMN rowhook.chain.table_name IS 'The captured table';
COMMENT ON COLUMN rowhook.chain.row_key IS 'The row';
COMMENT ON COLUMN rowhook.chain.last_at IS 'When it last came by';
COMMENT ON COLUMN rowhook.chain.seen IS 'How often, up to now';

CREATE FUNCTION rowhook.loop_limit() RETURNS integer LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN current_setting('rowhook.loop_limit', true) ~ '^[0-9]{1,6}$' THEN current_setting('rowhook.loop_limit', true)::integer ELSE 20 END
$fn$;
COMMENT ON FUNCTION rowhook.loop_limit() IS 'How often a chain may come by a row: rowhook.loop_limit of the database, 20 otherwise';

CREATE FUNCTION rowhook.loops(chain text, type text, table_name text, row_key text) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _seen integer;
BEGIN
    IF loops.row_key IS NULL OR length(loops.row_key) > 1000 THEN
        RETURN NULL;
    END IF;
    -- The writer holds the row's own lock: whoever waits here would have waited there.
    INSERT INTO rowhook.chain AS c (correlation_id, type, table_name, row_key) VALUES (left(loops.chain, 200), loops.type, loops.table_name, loops.row_key)
    ON CONFLICT ON CONSTRAINT chain_pkey DO UPDATE SET seen = c.seen + 1, last_at = clock_timestamp()
    RETURNING c.seen INTO _seen;
    -- Each new one takes two old ones away, so that they are never many; not where a row that went meanwhile would be an error.
    IF _seen = 1 AND current_setting('transaction_isolation') = 'read committed' THEN
        DELETE FROM rowhook.chain AS c WHERE c.ctid = ANY (ARRAY(
            SELECT o.ctid FROM rowhook.chain AS o WHERE o.last_at < clock_timestamp() - interval '1 day' ORDER BY o.last_at LIMIT 2 FOR UPDATE SKIP LOCKED));
    END IF;
    RETURN CASE WHEN _seen > rowhook.loop_limit() THEN true END;
END
$fn$;
COMMENT ON FUNCTION rowhook.loops(text, text, text, text) IS 'Count an event of a chain; true: the same row and type came by too often, null: not yet';

CREATE FUNCTION rowhook.looped(chain text, type text, table_name text, row_key text) RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- STABLE is not true of it, and makes each captured write an eighth cheaper: around a volatile expression the planner keeps a
    -- subquery. It stands where it is evaluated exactly once for an event.
    RETURN rowhook.loops(looped.chain, looped.type, looped.table_name, looped.row_key);
END
$fn$;
COMMENT ON FUNCTION rowhook.looped(text, text, text, text) IS 'rowhook.loops(), as the generated functions call it';

REVOKE EXECUTE ON FUNCTION rowhook.session_context(), rowhook.skips(), rowhook.loop_limit(), rowhook.loops(text, text, text, text),
    rowhook.looped(text, text, text, text) FROM PUBLIC;
SELECT rowhook.grant_to_roles();
