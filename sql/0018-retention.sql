-- Retention: what has ended and is old goes, a slot of the ring at a time.
-- depends: 0014-admin
--
-- One relay does it at a time (an advisory lock), in steps of one short transaction each, any of which may be the last before a
-- crash; relay/retention.py takes them. Of a slot that was left long enough ago:
--   begin_sweep   remembers what had been dispatched by then ("seen"), and nothing new is made of the slot's events from then on;
--   sweep_slot    walks its events in order of id: deliveries that ended long ago go with their attempts; an event that has any left,
--                 be it one that waits for a paused endpoint or one that ended yesterday, is moved to the present slot;
--   empty_slot    locks the slot, then looks whether it holds anything that is not in "seen", then empties it by TRUNCATE.
-- Check first and lock second loses an event: TRUNCATE would wait for its writer, and then remove the row that has committed. Writers
-- write to the present slot and never to this one; the lock is asked for with a short timeout, because those who read events
-- (dispatch, claims) queue up behind whoever waits for it.

CREATE TABLE rowhook.ring (
    slot              smallint NOT NULL CONSTRAINT ring_pkey PRIMARY KEY,
    is_swept          boolean  NOT NULL DEFAULT false,
    opened_at         timestamptz,
    closed_at         timestamptz,
    system_identifier bigint,
    seen              pg_snapshot,
    archived_in       text,
    CONSTRAINT slot_is_in_the_ring CHECK (slot BETWEEN 0 AND 9),
    CONSTRAINT swept_was_closed CHECK (seen IS NULL OR closed_at IS NOT NULL),
    CONSTRAINT seen_has_its_cluster CHECK ((seen IS NULL) = (system_identifier IS NULL)),
    CONSTRAINT swept_has_seen CHECK (seen IS NOT NULL OR (NOT is_swept AND archived_in IS NULL))
);
INSERT INTO rowhook.ring (slot) SELECT generate_series(0, 9);
COMMENT ON TABLE rowhook.ring IS 'The ten slots of the ring: since when each is written to, when it was left, how far retention is with it';
COMMENT ON COLUMN rowhook.ring.slot IS 'Number of the partition: rowhook.event_0 to event_9';
COMMENT ON COLUMN rowhook.ring.is_swept IS 'Its events that were seen have no deliveries any more, or were moved: it can be emptied';
COMMENT ON COLUMN rowhook.ring.opened_at IS 'When it became the present one, as far as retention noticed; null: it is empty';
COMMENT ON COLUMN rowhook.ring.closed_at IS 'When writers left it; null: it is the present one, or empty';
COMMENT ON COLUMN rowhook.ring.system_identifier IS 'The cluster in which "seen" means something';
COMMENT ON COLUMN rowhook.ring.seen IS 'What had been dispatched when its sweep began; from then on its events get no new deliveries';
COMMENT ON COLUMN rowhook.ring.archived_in IS 'The files that hold what was seen, where it is archived before it goes';

-- What doctor shows: whether somebody keeps house, and what is in the way.
CREATE TABLE rowhook.retention (
    singleton  boolean NOT NULL DEFAULT true CONSTRAINT retention_pkey PRIMARY KEY CONSTRAINT there_is_one CHECK (singleton),
    keep       interval,
    ran_at     timestamptz,
    emptied_at timestamptz,
    trouble    text
);
INSERT INTO rowhook.retention DEFAULT VALUES;
COMMENT ON TABLE rowhook.retention IS 'How retention fares; one row';
COMMENT ON COLUMN rowhook.retention.singleton IS 'Always true';
COMMENT ON COLUMN rowhook.retention.keep IS 'ROWHOOK_RETENTION of the relay that ran last; null: forever';
COMMENT ON COLUMN rowhook.retention.ran_at IS 'When a relay last looked';
COMMENT ON COLUMN rowhook.retention.emptied_at IS 'When a slot was last emptied';
COMMENT ON COLUMN rowhook.retention.trouble IS 'What kept it from finishing, the last time; null: nothing';

CREATE FUNCTION rowhook.slot_is_filled(slot integer) RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _filled boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM rowhook.event_%s)', slot_is_filled.slot) INTO _filled;
    RETURN _filled;
END
$fn$;
COMMENT ON FUNCTION rowhook.slot_is_filled(integer) IS 'Whether a slot of the ring holds any event';

CREATE FUNCTION rowhook.present_slot() RETURNS smallint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT coalesce(pg_sequence_last_value('rowhook.present_slot'::regclass), 0)::smallint
$fn$;
COMMENT ON FUNCTION rowhook.present_slot() IS 'The slot that writers write to';

CREATE FUNCTION rowhook.survey_ring() RETURNS SETOF rowhook.ring LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _present smallint := rowhook.present_slot();
    _open    boolean;
    _closed  boolean;
BEGIN
    -- The sequence and the slots are the truth; this table only remembers since when. A late writer may fill a slot again that was
    -- emptied: then it was left just now. Nothing is written where nothing has changed.
    FOR _slot IN 0..9 LOOP
        _open := _slot = _present;
        _closed := NOT _open AND rowhook.slot_is_filled(_slot);
        UPDATE rowhook.ring AS r
           SET opened_at = CASE WHEN _open OR _closed THEN coalesce(r.opened_at, clock_timestamp()) END,
               closed_at = CASE WHEN _closed THEN coalesce(r.closed_at, clock_timestamp()) END,
               seen = NULL, system_identifier = NULL, is_swept = false, archived_in = NULL
         WHERE r.slot = _slot AND ((r.opened_at IS NOT NULL) <> (_open OR _closed) OR (r.closed_at IS NOT NULL) <> _closed);
    END LOOP;
    RETURN QUERY SELECT r.* FROM rowhook.ring AS r ORDER BY r.slot;
END
$fn$;
COMMENT ON FUNCTION rowhook.survey_ring() IS 'The ring as it is now';

CREATE FUNCTION rowhook.turn_ring(width interval) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _present smallint := rowhook.present_slot();
    _next    integer;
BEGIN
    IF NOT EXISTS (SELECT FROM rowhook.ring AS r WHERE r.slot = _present AND r.opened_at <= clock_timestamp() - turn_ring.width)
       OR NOT rowhook.slot_is_filled(_present) THEN
        RETURN 'young';
    END IF;
    FOR _step IN 1..9 LOOP
        _next := (_present + _step) % 10;
        IF NOT rowhook.slot_is_filled(_next) THEN
            PERFORM setval('rowhook.present_slot', _next), rowhook.survey_ring();
            RETURN 'turned';
        END IF;
    END LOOP;
    RETURN 'full';
END
$fn$;
COMMENT ON FUNCTION rowhook.turn_ring(interval) IS 'Let writers go on to an empty slot, if the present one was written to for so long: young, turned, or full';

CREATE FUNCTION rowhook.begin_sweep(slot integer) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- Whoever makes deliveries of past events (endpoint add --since) holds the rows of the slots it takes from: this waits for them.
    -- The cursor's "seen" means nothing in another cluster, until a dispatcher has begun anew there.
    UPDATE rowhook.ring AS r
       SET seen = c.seen, system_identifier = c.system_identifier, is_swept = false, archived_in = NULL
      FROM rowhook.cursor AS c
     WHERE r.slot = begin_sweep.slot AND r.closed_at IS NOT NULL
       AND (r.seen IS NULL OR r.system_identifier <> (SELECT s.system_identifier FROM pg_control_system() AS s));
    RETURN EXISTS (SELECT FROM rowhook.ring AS r, rowhook.cursor AS c, pg_control_system() AS s
                    WHERE r.slot = begin_sweep.slot AND r.seen IS NOT NULL AND r.system_identifier = s.system_identifier
                      AND c.system_identifier = s.system_identifier);
END
$fn$;
COMMENT ON FUNCTION rowhook.begin_sweep(integer) IS 'Remember what was dispatched of a slot that was left; false: it can''t be told yet';

CREATE FUNCTION rowhook.sweep_slot(slot integer, after bigint, batch integer, ended_before timestamptz,
                                   OUT last_id bigint, OUT deliveries bigint, OUT moved bigint) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _ids     bigint[];
    _present smallint := rowhook.present_slot();
BEGIN
    IF _present = sweep_slot.slot OR NOT EXISTS (SELECT FROM rowhook.ring AS r WHERE r.slot = sweep_slot.slot AND r.seen IS NOT NULL) THEN
        PERFORM rowhook.refuse(format('slot %s is not being swept', sweep_slot.slot));
    END IF;
    EXECUTE format('SELECT array_agg(p.id), max(p.id) FROM (SELECT e.id FROM rowhook.event_%s AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2) AS p',
                   sweep_slot.slot) INTO _ids, last_id USING sweep_slot.after, sweep_slot.batch;
    IF last_id IS NULL THEN
        UPDATE rowhook.ring AS r SET is_swept = true WHERE r.slot = sweep_slot.slot;
        RETURN;
    END IF;
    -- A replay that is about to make one pending again is waited for, and then this leaves it alone.
    WITH gone AS (
        DELETE FROM rowhook.delivery AS d
         WHERE d.event_id = ANY (_ids) AND d.state IN ('delivered', 'dead', 'cancelled') AND d.ended_at < sweep_slot.ended_before
        RETURNING d.id
    ), tried AS (
        DELETE FROM rowhook.attempt AS a USING gone AS g WHERE a.delivery_id = g.id
    )
    SELECT count(*) INTO deliveries FROM gone;
    -- A statement of its own, later: it sees what that one left. Deliveries name their event by its slot of birth, which stays; so do
    -- its public id and its bytes.
    UPDATE rowhook.event AS e SET kept_in = _present
     WHERE e.kept_in = sweep_slot.slot AND e.id = ANY (_ids) AND EXISTS (SELECT FROM rowhook.delivery AS d WHERE d.event_id = e.id);
    GET DIAGNOSTICS moved = ROW_COUNT;
END
$fn$;
COMMENT ON FUNCTION rowhook.sweep_slot(integer, bigint, integer, timestamptz) IS
    'The next events of a slot after an id: old deliveries go, what is left is moved. last_id is null at the end';

CREATE FUNCTION rowhook.empty_slot(slot integer, patience interval) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _ring rowhook.ring;
    _late boolean;
BEGIN
    PERFORM set_config('lock_timeout', greatest(1, extract(epoch FROM empty_slot.patience) * 1000)::int::text, true);
    EXECUTE format('LOCK TABLE ONLY rowhook.event_%s IN ACCESS EXCLUSIVE MODE', empty_slot.slot);
    -- From here on nobody adds to it, and each statement sees all that has committed.
    SELECT r.* INTO _ring FROM rowhook.ring AS r, rowhook.cursor AS c, pg_control_system() AS s
     WHERE r.slot = empty_slot.slot AND r.is_swept AND r.slot <> rowhook.present_slot()
       AND r.system_identifier = s.system_identifier AND c.system_identifier = s.system_identifier;
    IF NOT FOUND THEN
        RETURN 'unswept';
    END IF;
    -- What is in "seen" was dispatched, and swept: it has no deliveries, and got none since. So only the rest is looked for, by the index
    -- over transactions: the lock is held for a moment, however many events there are.
    EXECUTE format($sql$
        SELECT EXISTS (SELECT FROM rowhook.event_%1$s AS e WHERE e.xid >= pg_snapshot_xmax($1))
            OR EXISTS (SELECT FROM pg_snapshot_xip($1) AS x (xid)
                        CROSS JOIN LATERAL (SELECT FROM rowhook.event_%1$s AS e WHERE e.xid = x.xid LIMIT 1) AS e)$sql$, empty_slot.slot)
       INTO _late USING _ring.seen;
    IF _late THEN
        UPDATE rowhook.ring AS r SET seen = NULL, system_identifier = NULL, is_swept = false, archived_in = NULL WHERE r.slot = empty_slot.slot;
        RETURN 'late';
    END IF;
    EXECUTE format('TRUNCATE ONLY rowhook.event_%s', empty_slot.slot);
    UPDATE rowhook.ring AS r
       SET opened_at = NULL, closed_at = NULL, seen = NULL, system_identifier = NULL, is_swept = false, archived_in = NULL
     WHERE r.slot = empty_slot.slot;
    UPDATE rowhook.retention SET emptied_at = clock_timestamp();
    RETURN 'emptied';
END
$fn$;
COMMENT ON FUNCTION rowhook.empty_slot(integer, interval) IS
    'Empty a slot that was swept: emptied; late: it holds what was not seen, and is to be swept anew; unswept';

CREATE FUNCTION rowhook.archived(event rowhook.event) RETURNS TABLE (
    id text, type text, occurred_at timestamptz, op text, "table" text, row_key text, tenant text, moved boolean, truncated boolean,
    looped boolean, data text, previous text, context text, deliveries text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT rowhook.public_id('evt', (event).occurred_at, (event).id, (event).slot), (event).type, (event).occurred_at, (event).op::text,
           (event).table_name, (event).row_key, (event).tenant, (event).moved, (event).truncated IS TRUE, (event).looped IS TRUE,
           (event).data::text, (event).previous::text, (event).context::text, (
               SELECT coalesce(json_agg(json_build_object(
                          'id', rowhook.public_id('dlv', d.created_at, d.id), 'endpoint_id', p.public_id, 'url', p.url, 'state', d.state,
                          'created_at', d.created_at, 'ended_at', d.ended_at,
                          'attempts', (
                              SELECT coalesce(json_agg(json_build_object(
                                         'number', a.number, 'started_at', a.started_at,
                                         'duration_ms', round((extract(epoch FROM a.duration) * 1000)::numeric, 3),
                                         'status_code', a.status_code, 'error_class', a.error_class, 'error', a.error,
                                         'response_excerpt', a.response_excerpt) ORDER BY a.number), '[]'::json)
                                FROM rowhook.attempt AS a WHERE a.delivery_id = d.id)) ORDER BY d.id), '[]'::json)
                 FROM rowhook.delivery AS d JOIN rowhook.endpoint AS p ON p.id = d.endpoint_id
                WHERE d.event_id = (event).id AND d.event_slot = (event).slot)::text
$fn$;
COMMENT ON FUNCTION rowhook.archived(rowhook.event) IS
    'An event as archives have it: JSON as the text that it is; deliveries, with their attempts, as a JSON array';

-- Many rows come and go: vacuum comes by for hundredths of a table rather than a fifth, and doesn't dawdle.
ALTER TABLE rowhook.delivery SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
                                  autovacuum_analyze_scale_factor = 0.1);
ALTER TABLE rowhook.attempt SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
                                 autovacuum_analyze_scale_factor = 0.1);

CREATE FUNCTION rowhook.grant_retention() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- Of an event a relay may change nothing but where it is kept; a slot it may empty, and no event may it delete.
    GRANT UPDATE (kept_in) ON rowhook.event TO rowhook_relay;
    FOR _slot IN 0..9 LOOP
        EXECUTE format('GRANT SELECT, TRUNCATE ON rowhook.event_%s TO rowhook_relay', _slot);
    END LOOP;
    GRANT DELETE ON rowhook.delivery, rowhook.attempt TO rowhook_relay;
    IF current_setting('server_version_num')::int >= 170000 THEN  -- before, only their owner may vacuum them, or autovacuum does
        EXECUTE 'GRANT MAINTAIN ON rowhook.delivery, rowhook.attempt TO rowhook_relay';
    END IF;
    GRANT SELECT, DELETE ON rowhook.capture_failure TO rowhook_relay;
    GRANT UPDATE (removed_id) ON rowhook.horizon TO rowhook_relay;
    GRANT SELECT, UPDATE ON rowhook.ring, rowhook.retention TO rowhook_relay;
    GRANT EXECUTE ON FUNCTION rowhook.slot_is_filled(integer), rowhook.present_slot(), rowhook.survey_ring(), rowhook.turn_ring(interval),
        rowhook.begin_sweep(integer), rowhook.sweep_slot(integer, bigint, integer, timestamptz), rowhook.empty_slot(integer, interval),
        rowhook.archived(rowhook.event), rowhook.refuse(text, text) TO rowhook_relay;
END
$fn$;
COMMENT ON FUNCTION rowhook.grant_retention() IS 'The rights with which rowhook_relay keeps house';

REVOKE EXECUTE ON FUNCTION rowhook.grant_retention(), rowhook.slot_is_filled(integer), rowhook.present_slot(), rowhook.survey_ring(), rowhook.turn_ring(interval),
    rowhook.begin_sweep(integer), rowhook.sweep_slot(integer, bigint, integer, timestamptz), rowhook.empty_slot(integer, interval),
    rowhook.archived(rowhook.event) FROM PUBLIC;
SELECT rowhook.grant_to_roles();
