-- Deliveries (event x endpoint) and attempts (each request, with its answer).
-- depends: 0003-endpoint
--
-- States and their moves are drawn in docs/states.md. The partial indexes hold only live work, so they stay small
-- however much history there is. To shrink a big history, delete ended deliveries and their attempts in batches.

CREATE TABLE rowhook.delivery (
    id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT delivery_pkey PRIMARY KEY,
    event_id    bigint      NOT NULL,
    endpoint_id bigint      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz,
    leased_at   timestamptz,
    ended_at    timestamptz,
    instance_id bigint,
    attempts    integer     NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    event_slot  smallint    NOT NULL,
    free_tries  smallint    NOT NULL DEFAULT 0,
    last_try    boolean     NOT NULL DEFAULT false,
    state       text        NOT NULL DEFAULT 'pending',
    webhook_id  text,
    order_key   text,
    shape       text,
    body        text,
    CONSTRAINT delivery_once_per_endpoint UNIQUE (event_id, endpoint_id),
    CONSTRAINT state_known CHECK (state IN ('pending', 'leased', 'delivered', 'dead', 'cancelled')),
    CONSTRAINT pending_has_due CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CONSTRAINT leased_has_owner CHECK ((state = 'leased') = (instance_id IS NOT NULL)),
    CONSTRAINT leased_has_time CHECK (state <> 'leased' OR leased_at IS NOT NULL),
    CONSTRAINT pending_has_further_tries CHECK (state <> 'pending' OR NOT last_try),
    CONSTRAINT leased_is_counted CHECK (state <> 'leased' OR attempts > 0),
    CONSTRAINT ended_has_time CHECK ((state IN ('delivered', 'dead', 'cancelled')) = (ended_at IS NOT NULL))
);
CREATE INDEX delivery_pending ON rowhook.delivery (endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX delivery_leased ON rowhook.delivery (instance_id) WHERE state = 'leased';
CREATE INDEX delivery_ordered ON rowhook.delivery (endpoint_id, order_key, event_id)
    WHERE order_key IS NOT NULL AND state IN ('pending', 'leased');
CREATE INDEX delivery_dead ON rowhook.delivery (endpoint_id, ended_at) WHERE state = 'dead';

COMMENT ON TABLE rowhook.delivery IS 'One event on its way to one endpoint';
COMMENT ON COLUMN rowhook.delivery.id IS 'Internal id';
COMMENT ON COLUMN rowhook.delivery.event_id IS 'The event; no foreign key, see event';
COMMENT ON COLUMN rowhook.delivery.endpoint_id IS 'The endpoint; endpoints are never deleted';
COMMENT ON COLUMN rowhook.delivery.created_at IS 'When it was dispatched';
COMMENT ON COLUMN rowhook.delivery.due_at IS 'Pending: when it may be tried next';
COMMENT ON COLUMN rowhook.delivery.leased_at IS 'When the present or last try was claimed';
COMMENT ON COLUMN rowhook.delivery.ended_at IS 'When it was delivered, died or was cancelled';
COMMENT ON COLUMN rowhook.delivery.instance_id IS 'Leased: the running relay that holds it';
COMMENT ON COLUMN rowhook.delivery.attempts IS 'Tries claimed so far, over all replays; the number of the present or last attempt';
COMMENT ON COLUMN rowhook.delivery.failures IS 'Tries since the last replay that used up the schedule';
COMMENT ON COLUMN rowhook.delivery.event_slot IS 'The event''s partition, so that a join reads only that one';
COMMENT ON COLUMN rowhook.delivery.free_tries IS 'Tries in a row that did not use up the schedule: lost ones, stale keep-alive connections';
COMMENT ON COLUMN rowhook.delivery.last_try IS 'Given up by a person while it was out: if the present try fails, it is cancelled';
COMMENT ON COLUMN rowhook.delivery.state IS 'pending, leased, delivered, dead or cancelled';
COMMENT ON COLUMN rowhook.delivery.webhook_id IS 'Sent instead of the event''s id after a replay under a new id';
COMMENT ON COLUMN rowhook.delivery.shape IS 'What its body looks like, whatever its endpoint says since it was first claimed; null: standard, or not claimed yet';
COMMENT ON COLUMN rowhook.delivery.body IS 'Shape template: the body, made before the first request; each retry carries the same';
COMMENT ON COLUMN rowhook.delivery.order_key IS 'Ordered endpoints: table:row key, within which events are sent one after the other; #event where there is no row key';

CREATE TABLE rowhook.attempt (
    id               bigint      GENERATED ALWAYS AS IDENTITY,
    delivery_id      bigint      NOT NULL,
    endpoint_id      bigint      NOT NULL,
    instance_id      bigint      NOT NULL,
    started_at       timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration         interval,
    number           integer     NOT NULL,
    status_code      smallint,
    error_class      text,
    error            text,
    response_excerpt text,
    CONSTRAINT attempt_pkey PRIMARY KEY (delivery_id, number),
    CONSTRAINT number_is_positive CHECK (number > 0),
    CONSTRAINT status_code_is_http CHECK (status_code BETWEEN 100 AND 999),
    CONSTRAINT error_class_known CHECK (error_class IN (
        'dns', 'refused', 'tls', 'timeout', 'reset', 'blocked', 'http_4xx', 'http_5xx', 'redirect',
        'protocol', 'too_large', 'lost', 'internal')),
    CONSTRAINT success_has_status CHECK (error_class IS NOT NULL OR (status_code IS NOT NULL AND status_code BETWEEN 200 AND 299)),
    CONSTRAINT lost_knows_nothing CHECK (error_class <> 'lost' OR (status_code IS NULL AND duration IS NULL))
);
-- An endpoint's last attempts, without reading anybody else's: what each list, count and stream of the API walks. One more entry for
-- each attempt, at the end of its endpoint's part (docs/performance.md has what it costs). No two entries are equal.
CREATE INDEX attempt_of_endpoint ON rowhook.attempt (endpoint_id, id) WITH (deduplicate_items = off);

COMMENT ON TABLE rowhook.attempt IS 'One try to deliver, and what came of it';
COMMENT ON COLUMN rowhook.attempt.id IS 'Order of recording; a lost one whose outcome becomes known after all gets a new one';
COMMENT ON COLUMN rowhook.attempt.delivery_id IS 'The delivery';
COMMENT ON COLUMN rowhook.attempt.endpoint_id IS 'The delivery''s endpoint';
COMMENT ON COLUMN rowhook.attempt.instance_id IS 'The relay that made it';
COMMENT ON COLUMN rowhook.attempt.started_at IS 'When the request was begun; of a lost one: when it was claimed';
COMMENT ON COLUMN rowhook.attempt.recorded_at IS 'When its outcome was written here; in the order of id, but for transactions at the same moment';
COMMENT ON COLUMN rowhook.attempt.duration IS 'From the start to the end of the answer or the error';
COMMENT ON COLUMN rowhook.attempt.number IS '1, 2, 3 … within the delivery, over all replays';
COMMENT ON COLUMN rowhook.attempt.status_code IS 'HTTP status, where an answer came';
COMMENT ON COLUMN rowhook.attempt.error_class IS 'Null for success; otherwise what kind of failure';
COMMENT ON COLUMN rowhook.attempt.error IS 'The failure in words';
COMMENT ON COLUMN rowhook.attempt.response_excerpt IS 'The first 4 kB of the answer''s body';
