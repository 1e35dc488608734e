-- The doorbell: writers notify only while the dispatcher sleeps.
-- depends: 0005-relay
--
-- NOTIFY takes a cluster-wide lock at commit, listener or not. So a sequence serves as a flag outside MVCC: "armed until"
-- in milliseconds of the epoch. The dispatcher sets it before it sleeps; a dead one's runs out. UNLOGGED from Postgres 15
-- on: an idle database writes no WAL for it, and after a crash it reads as not armed.

DO $do$
BEGIN
    EXECUTE format('CREATE %s SEQUENCE rowhook.doorbell AS bigint MINVALUE 0 START 0',
        CASE WHEN current_setting('server_version_num')::int >= 150000 THEN 'UNLOGGED' ELSE '' END);
END
$do$;
COMMENT ON SEQUENCE rowhook.doorbell IS 'Armed until: milliseconds of the epoch; writers notify while the clock is before it';

-- Without a search_path of its own, which would cost a ringing write 4 microseconds: every name is qualified, and the functions
-- that call it as somebody else have theirs pinned. Captures make the same test before they call it.
CREATE FUNCTION rowhook.ring() RETURNS void LANGUAGE plpgsql
AS $fn$
DECLARE
    _now   double precision;
    _armed bigint;
BEGIN
    -- The caller has inserted its events before. Clock first, flag second: a writer that pauses in between then rings
    -- once too often; the other way round it would miss a bell armed during the pause.
    _now := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000;
    _armed := pg_catalog.pg_sequence_last_value('rowhook.doorbell'::pg_catalog.regclass);
    IF _now < _armed AND pg_catalog.current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_catalog.pg_notify('rowhook_bell', '');  -- PREPARE TRANSACTION fails after a NOTIFY: hence the setting's test
    END IF;
END
$fn$;
COMMENT ON FUNCTION rowhook.ring() IS 'Wake the dispatcher, if it asked for it; call after the events were inserted';

CREATE TABLE rowhook.probe (
    singleton boolean     NOT NULL DEFAULT true CONSTRAINT probe_pkey PRIMARY KEY CONSTRAINT there_is_one CHECK (singleton),
    rung_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO rowhook.probe DEFAULT VALUES;
COMMENT ON TABLE rowhook.probe IS 'Updated to test the bell through a real trigger; its events go nowhere';
COMMENT ON COLUMN rowhook.probe.singleton IS 'Always true';
COMMENT ON COLUMN rowhook.probe.rung_at IS 'When the bell was last tested';

CREATE FUNCTION rowhook.capture_probe() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    INSERT INTO rowhook.event (op, type, table_name) VALUES ('probe', 'rowhook.probe', 'rowhook.probe');
    PERFORM rowhook.ring();
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION rowhook.capture_probe() IS 'Trigger function of rowhook.probe';

CREATE TRIGGER rowhook_update AFTER UPDATE ON rowhook.probe FOR EACH STATEMENT EXECUTE FUNCTION rowhook.capture_probe();
