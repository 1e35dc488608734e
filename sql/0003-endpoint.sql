-- Endpoints: who wants which events, and how they are signed and sent.
-- depends: 0002-event

CREATE TABLE rowhook.endpoint (
    id             bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT endpoint_pkey PRIMARY KEY,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    public_id      text        NOT NULL GENERATED ALWAYS AS (rowhook.public_id('end', created_at, id)) STORED
                               CONSTRAINT endpoint_public_id_key UNIQUE,
    revision       bigint      NOT NULL DEFAULT 1,
    state          text        NOT NULL DEFAULT 'active',
    state_reason   text,
    url            text        NOT NULL,
    events         text[]      NOT NULL DEFAULT '{*}',
    tenant         text,
    description    text,
    retry_schedule interval[],
    timeout        interval,
    max_in_flight  integer,
    header_names   text[]      NOT NULL DEFAULT '{}',
    headers        bytea,
    headers_key_id text,
    ca_certificates text,
    client_certificate text,
    client_key     bytea,
    client_key_id  text,
    ordered        boolean     NOT NULL DEFAULT false,
    failing_since  timestamptz,
    circuit        text        NOT NULL DEFAULT 'closed',
    failures       integer     NOT NULL DEFAULT 0,
    opened_at      timestamptz,
    probes         integer     NOT NULL DEFAULT 0,
    probe_at       timestamptz,
    ramp           integer,
    CONSTRAINT state_known CHECK (state IN ('active', 'paused', 'disabled', 'removed')),
    CONSTRAINT url_is_http CHECK (url ~ '^https?://[^\s]+$'),
    CONSTRAINT events_are_patterns CHECK (
        cardinality(events) >= 1 AND array_position(events, NULL) IS NULL
        AND cardinality(string_to_array(array_to_string(events, ','), ',')) = cardinality(events)
        AND array_to_string(events, ',') ~ '^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)(,(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?))*$'),
    -- Within what the relay can reckon with: one odd endpoint must not stop the others.
    CONSTRAINT waits_are_waits CHECK (
        array_position(retry_schedule, NULL) IS NULL
        AND interval '0' <= ALL (retry_schedule) AND interval '30 days' >= ALL (retry_schedule)),
    CONSTRAINT timeout_is_positive CHECK (timeout > interval '0'),
    CONSTRAINT timeout_has_an_end CHECK (timeout <= interval '1 day'),
    CONSTRAINT max_in_flight_is_positive CHECK (max_in_flight > 0),
    CONSTRAINT max_in_flight_is_possible CHECK (max_in_flight <= 100000),
    CONSTRAINT headers_have_names_and_key CHECK (
        (headers IS NULL) = (header_names = '{}') AND (headers IS NULL) = (headers_key_id IS NULL)),
    CONSTRAINT certificates_are_pem CHECK (
        ca_certificates ~ '^-----BEGIN CERTIFICATE-----' AND client_certificate ~ '^-----BEGIN CERTIFICATE-----'
        AND ca_certificates !~ 'PRIVATE KEY' AND client_certificate !~ 'PRIVATE KEY'),
    CONSTRAINT client_certificate_has_key CHECK (
        (client_certificate IS NULL) = (client_key IS NULL) AND (client_certificate IS NULL) = (client_key_id IS NULL)),
    CONSTRAINT circuit_known CHECK (circuit IN ('closed', 'open', 'ramping')),
    CONSTRAINT circuit_was_opened CHECK ((circuit <> 'closed') = (opened_at IS NOT NULL)),
    CONSTRAINT open_has_probe CHECK ((circuit = 'open') = (probe_at IS NOT NULL)),
    CONSTRAINT ramping_has_limit CHECK ((circuit = 'ramping') = (ramp IS NOT NULL) AND ramp > 0)
);
-- Asked for in each claim; mostly empty.
CREATE INDEX endpoint_gated ON rowhook.endpoint (id) WHERE circuit <> 'closed';

COMMENT ON TABLE rowhook.endpoint IS 'A receiver''s URL and what it wants; removed ones stay for the record';
COMMENT ON COLUMN rowhook.endpoint.id IS 'Internal id';
COMMENT ON COLUMN rowhook.endpoint.created_at IS 'When it was added';
COMMENT ON COLUMN rowhook.endpoint.public_id IS 'The id that people and programs use: end_…';
COMMENT ON COLUMN rowhook.endpoint.revision IS 'Counts changes of the endpoint and its secrets; relays reload what changed';
COMMENT ON COLUMN rowhook.endpoint.state IS 'active; paused (by a person) or disabled (by Rowhook): deliveries accumulate; removed: gets nothing';
COMMENT ON COLUMN rowhook.endpoint.state_reason IS 'Why it is not active';
COMMENT ON COLUMN rowhook.endpoint.url IS 'Where to POST';
COMMENT ON COLUMN rowhook.endpoint.events IS 'Patterns of event types: *, expense.*, expense.created';
COMMENT ON COLUMN rowhook.endpoint.tenant IS 'Only this tenant''s events; null: the operator''s endpoint, all tenants';
COMMENT ON COLUMN rowhook.endpoint.description IS 'A note for people';
COMMENT ON COLUMN rowhook.endpoint.retry_schedule IS 'Waits before each retry; null: ROWHOOK_RETRY_SCHEDULE';
COMMENT ON COLUMN rowhook.endpoint.timeout IS 'Total time of one attempt; null: ROWHOOK_TIMEOUT';
COMMENT ON COLUMN rowhook.endpoint.max_in_flight IS 'Most requests at once from one relay; null: the relay''s default';
COMMENT ON COLUMN rowhook.endpoint.header_names IS 'Names of headers that its requests carry beside Rowhook''s own';
COMMENT ON COLUMN rowhook.endpoint.headers IS 'Those headers, encrypted: nonce and AES-256-GCM of JSON, bound to the endpoint''s id';
COMMENT ON COLUMN rowhook.endpoint.headers_key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted them';
COMMENT ON COLUMN rowhook.endpoint.ca_certificates IS 'In PEM: the authorities that may vouch for it; null: the system''s';
COMMENT ON COLUMN rowhook.endpoint.client_certificate IS 'In PEM: what it is shown over TLS, with those that lead to its authority';
COMMENT ON COLUMN rowhook.endpoint.client_key IS 'The key of that, encrypted: nonce and AES-256-GCM of PEM, bound to the endpoint''s id';
COMMENT ON COLUMN rowhook.endpoint.client_key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted it';
COMMENT ON COLUMN rowhook.endpoint.ordered IS 'Of one row, an event is sent only when those before it have ended';
COMMENT ON COLUMN rowhook.endpoint.failing_since IS 'When the first request that failed since the last success was begun';
COMMENT ON COLUMN rowhook.endpoint.circuit IS 'closed: sends freely; open, after nothing but failures: one probe at a time; ramping: more and more at once';
COMMENT ON COLUMN rowhook.endpoint.failures IS 'Failures since the last success; while the circuit is closed, counted as far as it takes to open it';
COMMENT ON COLUMN rowhook.endpoint.opened_at IS 'When the circuit opened; null while it is closed';
COMMENT ON COLUMN rowhook.endpoint.probes IS 'Probes that have failed since the circuit opened: each makes the wait for the next longer';
COMMENT ON COLUMN rowhook.endpoint.probe_at IS 'Open: when the next probe may be sent';
COMMENT ON COLUMN rowhook.endpoint.ramp IS 'Ramping: how many deliveries all relays together may hold';

CREATE TABLE rowhook.secret (
    id          bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT secret_pkey PRIMARY KEY,
    endpoint_id bigint      NOT NULL CONSTRAINT secret_endpoint_fkey REFERENCES rowhook.endpoint (id),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    public_key  text,
    key_id      text        NOT NULL,
    ciphertext  bytea       NOT NULL,
    CONSTRAINT key_id_is_hex CHECK (key_id ~ '^[0-9a-f]{8}$'),
    CONSTRAINT public_key_is_public CHECK (public_key ~ '^whpk_'),
    -- A nonce of 12 bytes, a tag of 16, and 16 characters or more.
    CONSTRAINT ciphertext_is_whole CHECK (octet_length(ciphertext) >= 44)
);
CREATE INDEX secret_of_endpoint ON rowhook.secret (endpoint_id);

COMMENT ON TABLE rowhook.secret IS 'Signing secrets; while one is replaced, both sign';
COMMENT ON COLUMN rowhook.secret.id IS 'Internal id; the highest of an endpoint is its newest';
COMMENT ON COLUMN rowhook.secret.endpoint_id IS 'Whose it is';
COMMENT ON COLUMN rowhook.secret.created_at IS 'When it was made';
COMMENT ON COLUMN rowhook.secret.expires_at IS 'Signs until then; null: until replaced';
COMMENT ON COLUMN rowhook.secret.public_key IS 'whpk_…, where it signs by ed25519; null: by HMAC';
COMMENT ON COLUMN rowhook.secret.key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted it';
COMMENT ON COLUMN rowhook.secret.ciphertext IS 'The secret, encrypted: nonce and AES-256-GCM of its text, bound to endpoint_id and id';

CREATE FUNCTION rowhook.pattern_candidates(type text)
RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- A body that is parsed here and now: its names are bound whatever the caller's path, and queries can take it in as their own part.
BEGIN ATOMIC
    -- Every pattern that could match, so that matching is an equality join: a.b.c -> a.b.c, a.b.*, a.*, *.
    -- Rowhook's own types only go to endpoints that name them.
    SELECT pattern_candidates.type
    UNION ALL
    SELECT p.pattern
      FROM (SELECT array_to_string(parts[1:n], '.') || '.*' AS pattern
              FROM string_to_array(pattern_candidates.type, '.') AS parts,
                   generate_series(1, array_length(parts, 1) - 1) AS n
            UNION ALL SELECT '*') AS p
     WHERE pattern_candidates.type NOT IN ('endpoint.disabled', 'delivery.dead', 'webhook.ping', 'schema.changed', 'rowhook.probe');
END;
COMMENT ON FUNCTION rowhook.pattern_candidates(text) IS 'The patterns that match an event type';
