-- What running relays share: who is alive, and how far dispatch has come.
-- depends: 0004-delivery
--
-- An instance lives while its session holds the advisory lock of its id (taken before the row is inserted); the row says
-- only what it was. The cursor is a snapshot, as in PgQ: new events are those visible now and not visible in "seen".

CREATE TABLE rowhook.instance (
    id           bigint      NOT NULL CONSTRAINT instance_pkey PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz,
    missed_rings integer     NOT NULL DEFAULT 0,
    state        text        NOT NULL DEFAULT 'live',
    name         text        NOT NULL,
    CONSTRAINT id_is_positive CHECK (id > 0),
    CONSTRAINT state_known CHECK (state IN ('live', 'dead')),
    CONSTRAINT dead_has_end CHECK ((state = 'dead') = (ended_at IS NOT NULL))
) WITH (fillfactor = 50);

COMMENT ON TABLE rowhook.instance IS 'Running relays, and those that ran lately';
COMMENT ON COLUMN rowhook.instance.id IS 'Random, never used again; key of the advisory lock that its session holds';
COMMENT ON COLUMN rowhook.instance.started_at IS 'When it registered';
COMMENT ON COLUMN rowhook.instance.beat_at IS 'Its last sign of life; one that holds its lock and is silent is frozen';
COMMENT ON COLUMN rowhook.instance.ended_at IS 'When it stopped or was found dead';
COMMENT ON COLUMN rowhook.instance.missed_rings IS 'Events that its safety looks found and for which nobody had rung; should stay 0';
COMMENT ON COLUMN rowhook.instance.state IS 'live or dead; a dead one''s leases are taken over';
COMMENT ON COLUMN rowhook.instance.name IS 'host:process, or --instance-name';

CREATE TABLE rowhook.cursor (
    singleton         boolean     NOT NULL DEFAULT true CONSTRAINT cursor_pkey PRIMARY KEY CONSTRAINT there_is_one CHECK (singleton),
    seen              pg_snapshot NOT NULL,
    target            pg_snapshot,
    position          bigint,
    fresh_from        bigint,
    highest_id        bigint      NOT NULL DEFAULT 0,
    system_identifier bigint      NOT NULL,
    moved_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT window_is_whole CHECK ((target IS NULL) = (position IS NULL) AND (target IS NULL) = (fresh_from IS NULL))
) WITH (fillfactor = 50);

COMMENT ON TABLE rowhook.cursor IS 'How far events have been dispatched; one row';
COMMENT ON COLUMN rowhook.cursor.singleton IS 'Always true';
COMMENT ON COLUMN rowhook.cursor.seen IS 'Events visible in this snapshot have been dispatched';
COMMENT ON COLUMN rowhook.cursor.target IS 'End of the window being dispatched in chunks; null between windows';
COMMENT ON COLUMN rowhook.cursor.position IS 'Within the window: events up to this id have been dispatched';
COMMENT ON COLUMN rowhook.cursor.fresh_from IS 'Lowest id among the window''s transactions that began after "seen"';
COMMENT ON COLUMN rowhook.cursor.highest_id IS 'Highest event id ever dispatched';
COMMENT ON COLUMN rowhook.cursor.system_identifier IS 'The cluster in which "seen" means something';
COMMENT ON COLUMN rowhook.cursor.moved_at IS 'When it last moved';

-- A transaction that stores a snapshot must not write events (its own id is visible in it): this one writes none.
INSERT INTO rowhook.cursor (seen, system_identifier)
SELECT pg_current_snapshot(), s.system_identifier FROM pg_control_system() AS s;
