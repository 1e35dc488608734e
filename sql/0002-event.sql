-- Events: append-only, written by triggers in the writer's own transaction.
-- depends: 0001-schema
--
-- A fixed ring of ten partitions, its slots: retention empties one with TRUNCATE, which locks no parent; a ring never runs out of
-- partitions, so no writer fails for the lack of one. Which slot is written to at present a sequence says, outside MVCC as the bell:
-- retention turns the ring on (0018-retention) once a slot has been written to for long enough and another is empty. So a slot
-- covers as many days as the setting asks for, today's or tomorrow's, and where nobody turns the ring on, nothing is overtaken.
-- A writer that has read the number and comes late writes to a slot that was left: it is emptied only for what was seen in it.
-- No foreign key points here: it would make the TRUNCATE of a slot impossible.

-- MAXVALUE: no other slot has a partition. Logged, unlike the bell: after a crash it must not say another slot.
CREATE SEQUENCE rowhook.present_slot AS bigint MINVALUE 0 MAXVALUE 9 START 0;
SELECT setval('rowhook.present_slot', 0);
COMMENT ON SEQUENCE rowhook.present_slot IS 'The slot of the ring that new events are written to; retention turns it on';

-- A type of its own rather than a CHECK: that is parsed anew in each statement, a quarter of what capturing one row costs.
CREATE TYPE rowhook.event_op AS ENUM ('insert', 'update', 'delete', 'truncate', 'rule', 'emit', 'own', 'probe', 'snapshot');
COMMENT ON TYPE rowhook.event_op IS 'How an event came about';

CREATE TABLE rowhook.event (
    id          bigint      GENERATED ALWAYS AS IDENTITY,
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    endpoint_id bigint,
    slot        smallint    NOT NULL DEFAULT coalesce(pg_sequence_last_value('rowhook.present_slot'::regclass), 0)::smallint,
    kept_in     smallint    NOT NULL DEFAULT coalesce(pg_sequence_last_value('rowhook.present_slot'::regclass), 0)::smallint,
    moved       boolean     NOT NULL DEFAULT false,
    op          rowhook.event_op NOT NULL,
    type        text        NOT NULL,
    table_name  text,
    row_key     text,
    tenant      text,
    data        json,
    previous    json,
    context     json,
    truncated   boolean,
    looped      boolean
) PARTITION BY LIST (kept_in);

DO $do$
BEGIN
    FOR _slot IN 0..9 LOOP
        EXECUTE format('CREATE TABLE rowhook.event_%s PARTITION OF rowhook.event FOR VALUES IN (%s)', _slot, _slot);
    END LOOP;
END
$do$;

-- Large rows: lz4 packs and unpacks several times faster than the default, which takes milliseconds of the writer's for 100 kB. A server
-- built without it keeps them as they are: half as much again on disk, for a few days.
DO $do$
DECLARE
    _table regclass;
BEGIN
    FOR _table IN SELECT p.relid FROM pg_catalog.pg_partition_tree('rowhook.event') AS p LOOP
        EXECUTE format('ALTER TABLE %s ALTER data SET COMPRESSION lz4, ALTER previous SET COMPRESSION lz4', _table);
    END LOOP;
EXCEPTION WHEN feature_not_supported THEN
    FOR _table IN SELECT p.relid FROM pg_catalog.pg_partition_tree('rowhook.event') AS p LOOP
        EXECUTE format('ALTER TABLE %s ALTER data SET STORAGE EXTERNAL, ALTER previous SET STORAGE EXTERNAL', _table);
    END LOOP;
END
$do$;

-- What the cursor's window reads: the transactions of a range, or single late ones, each in id order.
-- No two entries are equal, so looking for such when a page is full is for nothing.
CREATE INDEX event_by_transaction ON rowhook.event (xid, id) WITH (deduplicate_items = off);
-- After that one: where a partition that holds rows was never analysed, both seem to cost the same for an id alone (Postgres 18 thinks
-- of a skip scan, over as many transactions as there are), and the planner took the index that was made later.
ALTER TABLE rowhook.event ADD CONSTRAINT event_pkey PRIMARY KEY (id, kept_in);

COMMENT ON TABLE rowhook.event IS 'What happened: a captured row change, or an event emitted by hand; append-only';
COMMENT ON COLUMN rowhook.event.id IS 'Order of capture; per row it is the order of commit';
COMMENT ON COLUMN rowhook.event.xid IS 'The writing transaction: the cursor finds new events by it';
COMMENT ON COLUMN rowhook.event.occurred_at IS 'When the change was made (not committed); the envelope''s timestamp';
COMMENT ON COLUMN rowhook.event.endpoint_id IS 'For this endpoint only, whatever its patterns are; null: for all whose patterns match';
COMMENT ON COLUMN rowhook.event.slot IS 'The slot in which it was written: part of its public id, and so it stays';
COMMENT ON COLUMN rowhook.event.kept_in IS 'The slot that holds it now: another one, once retention has moved what had not ended';
COMMENT ON COLUMN rowhook.event.moved IS 'The row is neither new nor gone: it moved from one tenant to another, or into or out of what is captured';
COMMENT ON COLUMN rowhook.event.op IS 'insert, update, delete, truncate: captured; rule: of a named rule; emit: rowhook.emit(); own: Rowhook''s; probe: test of the bell; snapshot: a row as it was found';
COMMENT ON COLUMN rowhook.event.type IS 'Event type, e.g. expense.created';
COMMENT ON COLUMN rowhook.event.table_name IS 'Captured table, with its schema unless that is public';
COMMENT ON COLUMN rowhook.event.row_key IS 'Primary key as text; a JSON array of texts for several columns';
COMMENT ON COLUMN rowhook.event.tenant IS 'Whose event it is; endpoints with a tenant get only theirs';
COMMENT ON COLUMN rowhook.event.data IS 'The row as JSON text, sent verbatim; the old row for a delete';
COMMENT ON COLUMN rowhook.event.previous IS 'Old values of the columns that an update changed';
COMMENT ON COLUMN rowhook.event.context IS 'What the writer''s session said of itself: rowhook.actor, .correlation_id, .traceparent, .context';
COMMENT ON COLUMN rowhook.event.truncated IS 'True: the row was over the capture''s max_size, and data holds its key only; null takes no room';
COMMENT ON COLUMN rowhook.event.looped IS 'True: its correlation chain has had the same row and type too often; sent only by a replay';

DO $do$
DECLARE
    _comment record;
BEGIN
    FOR _comment IN
        SELECT p.inhrelid::regclass AS slot_table, a.attname AS col, col_description(a.attrelid, a.attnum) AS says
          FROM pg_catalog.pg_inherits AS p JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.inhparent
         WHERE p.inhparent = 'rowhook.event'::regclass AND a.attnum > 0 ORDER BY p.inhrelid, a.attnum
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', _comment.slot_table, _comment.col, _comment.says);
        EXECUTE format('COMMENT ON TABLE %s IS %L', _comment.slot_table, 'One slot of the ring of events');
    END LOOP;
END
$do$;

-- How far back the log reaches. Whoever empties a slot or deletes events, retention or a person, leaves a mark here.
CREATE TABLE rowhook.horizon (
    singleton  boolean NOT NULL DEFAULT true CONSTRAINT horizon_pkey PRIMARY KEY CONSTRAINT there_is_one CHECK (singleton),
    removed_id bigint  NOT NULL DEFAULT 0,
    xid        xid8    NOT NULL DEFAULT '0'
);
INSERT INTO rowhook.horizon DEFAULT VALUES;
COMMENT ON TABLE rowhook.horizon IS 'How far back the events reach; one row';
COMMENT ON COLUMN rowhook.horizon.singleton IS 'Always true';
COMMENT ON COLUMN rowhook.horizon.removed_id IS 'Highest id among events that were removed; 0: none was';
COMMENT ON COLUMN rowhook.horizon.xid IS 'Of transactions up to this one events may be missing: removed, or numbered otherwise before a restore';

CREATE FUNCTION rowhook.mark_horizon() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- The TRUNCATE holds its lock by now: nobody adds to the slot any more, and all that is committed is seen.
    EXECUTE format($sql$
        UPDATE rowhook.horizon AS h
           SET removed_id = greatest(h.removed_id, e.id), xid = greatest(h.xid, e.xid)
          FROM (SELECT (SELECT max(id) FROM %1$s) AS id, (SELECT xid FROM %1$s ORDER BY xid DESC LIMIT 1) AS xid) AS e
         WHERE e.id IS NOT NULL$sql$, TG_RELID::regclass);
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION rowhook.mark_horizon() IS 'Trigger function of the slots of rowhook.event: remember what a TRUNCATE removes';

CREATE FUNCTION rowhook.mark_horizon_of_deleted() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    UPDATE rowhook.horizon AS h
       SET removed_id = greatest(h.removed_id, e.id), xid = greatest(h.xid, e.xid)
      FROM (SELECT max(g.id) AS id, max(g.xid::text::bigint)::text::xid8 AS xid FROM gone AS g) AS e
     WHERE e.id IS NOT NULL;
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION rowhook.mark_horizon_of_deleted() IS 'Trigger function of rowhook.event and its slots: remember what a DELETE removes; a move is none';

DO $do$
DECLARE
    _table regclass;
BEGIN
    FOR _table IN SELECT p.relid FROM pg_catalog.pg_partition_tree('rowhook.event') AS p LOOP
        EXECUTE format('CREATE TRIGGER mark_horizon_of_deleted AFTER DELETE ON %s REFERENCING OLD TABLE AS gone'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION rowhook.mark_horizon_of_deleted()', _table);
    END LOOP;
END
$do$;

DO $do$
BEGIN
    FOR _slot IN 0..9 LOOP
        EXECUTE format('CREATE TRIGGER mark_horizon BEFORE TRUNCATE ON rowhook.event_%s FOR EACH STATEMENT EXECUTE FUNCTION rowhook.mark_horizon()', _slot);
    END LOOP;
END
$do$;
