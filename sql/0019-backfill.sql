-- Backfill: rows that were there before, as <prefix>.snapshot events; and past events for an endpoint that is new.
-- depends: 0018-retention
--
-- Consistent with the live stream, row by row: no row is missed, and no older state comes after a newer one. A chunk locks its rows
-- (FOR SHARE) before their events take their ids, in one statement. Who wrote such a row before either has committed, and then the
-- lock waited for that and the row is read as it is now, after that write's event; or writes it afterwards, once the chunk has
-- committed, with a higher id. So for each row the order of ids is the order of commits, as everywhere.
-- A row that comes into being or changes its key meanwhile has an event of its own.

CREATE TABLE rowhook.backfill (
    id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT backfill_pkey PRIMARY KEY,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    moved_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    endpoint_id bigint,
    since_event bigint,
    sent        bigint      NOT NULL DEFAULT 0,
    table_name  regclass    NOT NULL,
    rows        text,
    after       text[],
    name        text        NOT NULL DEFAULT '',
    CONSTRAINT sent_is_a_count CHECK (sent >= 0)
);
CREATE UNIQUE INDEX backfill_once_at_a_time ON rowhook.backfill (table_name, name, coalesce(rows, ''), coalesce(endpoint_id, 0)) WHERE ended_at IS NULL;

COMMENT ON TABLE rowhook.backfill IS 'Backfills: how far each is; one that was interrupted goes on from there';
COMMENT ON COLUMN rowhook.backfill.id IS 'Internal id';
COMMENT ON COLUMN rowhook.backfill.started_at IS 'When it was begun';
COMMENT ON COLUMN rowhook.backfill.moved_at IS 'When its last chunk was sent';
COMMENT ON COLUMN rowhook.backfill.ended_at IS 'When no row was left; null: it goes on';
COMMENT ON COLUMN rowhook.backfill.endpoint_id IS 'For this endpoint only; null: for all whose patterns match';
COMMENT ON COLUMN rowhook.backfill.since_event IS 'Of what was written since it began the events have higher ids, for verify; null: a writer was under way for too long to tell';
COMMENT ON COLUMN rowhook.backfill.sent IS 'Rows so far';
COMMENT ON COLUMN rowhook.backfill.table_name IS 'The captured table';
COMMENT ON COLUMN rowhook.backfill.name IS 'Which of its captures';
COMMENT ON COLUMN rowhook.backfill.rows IS 'Only rows for which this SQL holds; null: all';
COMMENT ON COLUMN rowhook.backfill.after IS 'The row key that it has come to, part by part; null: it has not begun';

CREATE FUNCTION rowhook.writers_have_ended(patience interval) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _writers  text[];
    _deadline timestamptz := clock_timestamp() + writers_have_ended.patience;
BEGIN
    -- Whoever has taken an id and not committed holds this lock. Those that begin later are of no interest.
    LOOP
        _writers := ARRAY(SELECT DISTINCT l.virtualtransaction FROM pg_locks AS l
                           WHERE l.locktype = 'relation' AND l.relation = 'rowhook.event'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
                             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                             AND l.pid IS DISTINCT FROM pg_backend_pid() AND (_writers IS NULL OR l.virtualtransaction = ANY (_writers)));
        IF _writers = '{}' OR clock_timestamp() > _deadline THEN
            RETURN _writers = '{}';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.writers_have_ended(interval) IS 'Wait for those who are writing events now; false: some go on for longer than that';

CREATE FUNCTION rowhook.begin_backfill(table_name regclass, rows text, endpoint text, name text DEFAULT '') RETURNS rowhook.backfill LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _capture  rowhook.capture;
    _backfill rowhook.backfill;
    _endpoint bigint;
    _highest  bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('rowhook.event', 'id')), 0);
    _label    text := coalesce(rowhook.table_label(begin_backfill.table_name), begin_backfill.table_name::text);
BEGIN
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = begin_backfill.table_name AND c.name = coalesce(begin_backfill.name, '');
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(rowhook.not_captured(begin_backfill.table_name, begin_backfill.name), format('What changes meanwhile would be missed; first: rowhook capture %s', rowhook.capture_label(begin_backfill.table_name, begin_backfill.name)));
    END IF;
    PERFORM rowhook.check_verifiable(_capture);  -- rows that can be told apart: it goes on after a row key
    IF begin_backfill.endpoint IS NOT NULL THEN
        SELECT p.id INTO _endpoint FROM rowhook.endpoint AS p WHERE p.public_id = begin_backfill.endpoint AND p.state <> 'removed';
        IF NOT FOUND THEN
            PERFORM rowhook.refuse(format('there is no endpoint %s', begin_backfill.endpoint), 'rowhook endpoint list shows those that there are');
        END IF;
    END IF;
    BEGIN
        EXECUTE format(E'SELECT FROM %s AS t WHERE (%s\n) LIMIT 0', begin_backfill.table_name, coalesce(begin_backfill.rows, 'true'));
    EXCEPTION WHEN syntax_error_or_access_rule_violation OR undefined_column OR undefined_function OR datatype_mismatch THEN
        PERFORM rowhook.refuse(format('rows: %s', SQLERRM), format('Give a condition on the columns of %s, e.g. "amount > 100"', _label));
    END;
    -- For verify: a row of a writer who has its event's id by now and commits when the chunks have passed it would have none after.
    INSERT INTO rowhook.backfill (table_name, name, rows, endpoint_id, since_event)
    VALUES (begin_backfill.table_name, _capture.name, begin_backfill.rows, _endpoint, CASE WHEN rowhook.writers_have_ended('5 s') THEN _highest END)
    ON CONFLICT DO NOTHING;
    SELECT b.* INTO _backfill FROM rowhook.backfill AS b
     WHERE b.table_name = begin_backfill.table_name AND b.name = _capture.name AND b.rows IS NOT DISTINCT FROM begin_backfill.rows
       AND b.endpoint_id IS NOT DISTINCT FROM _endpoint AND b.ended_at IS NULL;
    RETURN _backfill;
END
$fn$;
COMMENT ON FUNCTION rowhook.begin_backfill(regclass, text, text, text) IS 'A new backfill, or the same one that was interrupted';

CREATE FUNCTION rowhook.backfill_page_sql(c rowhook.capture, rows text, bounds text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Rows of inheriting tables fire triggers of their own, and are backfilled by themselves.
    SELECT format(E'FROM %s%s AS t WHERE (%s\n) AND %s ORDER BY %s',
        CASE WHEN (SELECT r.relkind FROM pg_class AS r WHERE r.oid = (c).table_name) = 'p' THEN '' ELSE 'ONLY ' END, (c).table_name,
        coalesce(backfill_page_sql.rows, 'true'), backfill_page_sql.bounds,
        (SELECT string_agg(format('t.%I', k.col), ', ' ORDER BY k.n) FROM unnest((c).key) WITH ORDINALITY AS k (col, n)))
$fn$;
COMMENT ON FUNCTION rowhook.backfill_page_sql(rowhook.capture, text, text) IS 'The rows of a backfill within bounds, in order of their key';

CREATE FUNCTION rowhook.backfill_chunk(backfill bigint, chunk integer) RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, MDY'
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET extra_float_digits = 1
AS $fn$
#variable_conflict use_column
DECLARE
    _backfill rowhook.backfill;
    _capture  rowhook.capture;
    _key      text;
    _texts    text;
    _after    text;
    _upto     text;
    _last     text[];
    _sql      text;
    _sent     integer;
BEGIN
    SELECT b.* INTO _backfill FROM rowhook.backfill AS b WHERE b.id = backfill_chunk.backfill AND b.ended_at IS NULL FOR UPDATE;
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = _backfill.table_name AND c.name = _backfill.name;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT format('(%s)', string_agg(format('t.%I', a.attname), ', ' ORDER BY k.n)),
           string_agg(format('t.%I::text', a.attname), ', ' ORDER BY k.n),
           format('(%s)', string_agg(format('$1[%s]::%s', k.n, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.n)),
           format('(%s)', string_agg(format('$2[%s]::%s', k.n, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.n))
      INTO _key, _texts, _after, _upto
      FROM unnest(_capture.key) WITH ORDINALITY AS k (col, n)
      JOIN pg_attribute AS a ON a.attrelid = _capture.table_name AND a.attname = k.col;
    _after := CASE WHEN _backfill.after IS NULL THEN 'true' ELSE format('%s > %s', _key, _after) END;
    -- Where the chunk ends is settled first, without locks: of rows that are waited for some may drop out.
    EXECUTE format('SELECT p.k FROM (SELECT ARRAY[%s] AS k, row_number() OVER () AS n FROM (SELECT t.* %s LIMIT $3) AS t) AS p ORDER BY p.n DESC LIMIT 1',
                   _texts, rowhook.backfill_page_sql(_capture, _backfill.rows, _after))
       INTO _last USING _backfill.after, NULL::text[], backfill_chunk.chunk;
    IF _last IS NULL THEN
        UPDATE rowhook.backfill AS b SET ended_at = clock_timestamp() WHERE b.id = _backfill.id;
        RETURN NULL;
    END IF;
    -- Lock first, id afterwards: the rows are locked inside, and what an event is made of, its id with it, is computed around that.
    _sql := rowhook.insert_sql(_capture, 'snapshot', 'snapshot', 't', format($sql$
      FROM (SELECT t.* %s FOR SHARE OF t) AS t
     CROSS JOIN (SELECT clock_timestamp() AS at, rowhook.present_slot() AS slot, NULL::json AS context, NULL::text AS chain OFFSET 0) AS rowhook_now$sql$,
        rowhook.backfill_page_sql(_capture, _backfill.rows, format('%s AND %s <= %s', _after, _key, _upto))));
    IF _backfill.endpoint_id IS NOT NULL THEN
        _sql := regexp_replace(_sql, '(INSERT INTO rowhook\.event \()([^)]*\)\s*SELECT )', format('\1endpoint_id, \2%s, ', _backfill.endpoint_id));
    END IF;
    EXECUTE _sql USING _backfill.after, _last;
    GET DIAGNOSTICS _sent = ROW_COUNT;
    UPDATE rowhook.backfill AS b SET after = _last, sent = b.sent + _sent, moved_at = clock_timestamp() WHERE b.id = _backfill.id;
    PERFORM rowhook.ring();
    RETURN _sent;
END
$fn$;
COMMENT ON FUNCTION rowhook.backfill_chunk(bigint, integer) IS 'Send the next rows of a backfill; null: there are none, it has ended';

CREATE FUNCTION rowhook.backfill(table_name regclass, rows text DEFAULT NULL, endpoint text DEFAULT NULL, name text DEFAULT '') RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _backfill rowhook.backfill := rowhook.begin_backfill(backfill.table_name, backfill.rows, backfill.endpoint, backfill.name);
BEGIN
    WHILE rowhook.backfill_chunk(_backfill.id, 1000) IS NOT NULL LOOP
        NULL;
    END LOOP;
    RETURN (SELECT b.sent FROM rowhook.backfill AS b WHERE b.id = _backfill.id);
END
$fn$;
COMMENT ON FUNCTION rowhook.backfill(regclass, text, text, text) IS
    'Send rows that were there before as <prefix>.snapshot events, in the present transaction; the command rowhook backfill does it in many';

CREATE FUNCTION rowhook.deliver_past(endpoint bigint, since timestamptz, after bigint, upto bigint, batch integer,
                                     OUT last_id bigint, OUT made bigint) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _slots smallint[];
BEGIN
    -- Not from slots that are being swept: those events are about to go. The others are held until this has committed.
    SELECT array_agg(s.slot) INTO _slots FROM (SELECT r.slot FROM rowhook.ring AS r WHERE r.seen IS NULL ORDER BY r.slot FOR SHARE) AS s;
    -- An event is either here, or is seen for the first time by a dispatch that knows the endpoint, which was committed before; or
    -- both: then it has its delivery by the time the other comes to it.
    WITH page AS MATERIALIZED (
        SELECT e.id, e.slot, e.kept_in, e.occurred_at, e.op, e.endpoint_id, e.type, e.tenant, e.table_name, e.row_key
          FROM rowhook.event AS e WHERE e.id > deliver_past.after AND e.id <= deliver_past.upto ORDER BY e.id LIMIT deliver_past.batch
    ), made AS (
        INSERT INTO rowhook.delivery (event_id, event_slot, endpoint_id, order_key, state, due_at)
        SELECT e.id, e.slot, p.id, CASE WHEN p.ordered THEN coalesce(coalesce(e.table_name, '') || ':' || e.row_key, '#' || e.id) END,
               'pending', clock_timestamp()
          FROM page AS e JOIN rowhook.endpoint AS p ON p.id = deliver_past.endpoint AND p.state <> 'removed'
         CROSS JOIN LATERAL (SELECT x.type, x.data, x.previous FROM rowhook.event AS x WHERE x.id = e.id AND x.slot = e.slot LIMIT 1) AS x
         WHERE e.occurred_at >= deliver_past.since AND e.kept_in = ANY (_slots) AND e.op <> 'probe' AND e.endpoint_id IS NULL
           AND (p.tenant IS NULL OR p.tenant = e.tenant)
           AND EXISTS (SELECT FROM rowhook.pattern_candidates(e.type) AS k (pattern) WHERE k.pattern = ANY (p.events))
           AND (p.filter IS NULL OR rowhook.filter_verdict(p.filter, x.type, x.data, x.previous) = 'matched')
         ORDER BY e.id
        ON CONFLICT DO NOTHING RETURNING event_id
    )
    SELECT (SELECT max(page.id) FROM page), (SELECT count(*) FROM made) INTO last_id, made;
END
$fn$;
COMMENT ON FUNCTION rowhook.deliver_past(bigint, timestamptz, bigint, bigint, integer) IS
    'Deliveries to an endpoint of the next events after an id, up to another, that happened since a time; last_id is null at the end';

CREATE FUNCTION rowhook.grant_past() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    GRANT EXECUTE ON FUNCTION rowhook.deliver_past(bigint, timestamptz, bigint, bigint, integer) TO rowhook_relay;
END
$fn$;
COMMENT ON FUNCTION rowhook.grant_past() IS 'The right with which rowhook_relay gives an endpoint its past';

REVOKE EXECUTE ON FUNCTION rowhook.writers_have_ended(interval), rowhook.deliver_past(bigint, timestamptz, bigint, bigint, integer), rowhook.grant_past(), rowhook.begin_backfill(regclass, text, text, text), rowhook.backfill_page_sql(rowhook.capture, text, text),
    rowhook.backfill_chunk(bigint, integer), rowhook.backfill(regclass, text, text, text) FROM PUBLIC;
SELECT rowhook.grant_to_roles();
