-- Endpoints: who wants which events, and how these are made, signed and sent.
-- depends: 0002-event

-- Filters. A path decides for one endpoint which events it gets, so it must not cost the others anything: what is refused here can take
-- more time than the event is long (repeated or recursive steps, regular expressions). Postgres can't be interrupted while it compares
-- the values of two lists with each other: 25,000 with as many took 8 s under a statement_timeout of 3.

CREATE FUNCTION rowhook.filter_pairs(filter text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _operator constant text := '(?:==|!=|<=|>=|<|>)';
    _literal constant text := '(?:""|-?[0-9.]+(?:[eE][-+]?[0-9]+)?|true|false|null)(?:\.[a-z_]+\([^()]*\))*';
    _bare text := regexp_replace(filter::jsonpath::text, '"(\\.|[^"\\])*"', '""', 'g');
BEGIN
    _bare := regexp_replace(_bare, ' ' || _operator || ' ' || _literal || '(?=\)| &&| \|\|)', '', 'g');
    _bare := regexp_replace(_bare, '(\(|&& |\|\| )' || _literal || ' ' || _operator || ' ', '\1', 'g');
    RETURN (SELECT count(*) FROM regexp_matches(_bare, ' ' || _operator || ' ', 'g'));
END
$fn$;
COMMENT ON FUNCTION rowhook.filter_pairs(text) IS 'How many comparisons of a filter have no literal on either side: each may compare every value with every other';

CREATE FUNCTION rowhook.filter_values(document text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
    -- Commas stand between values, and in texts: those are left out, at a price, only where there are many.
    SELECT CASE WHEN octet_length(filter_values.document) - octet_length(replace(filter_values.document, ',', '')) > 500
                THEN (SELECT octet_length(t.bare) - octet_length(replace(t.bare, ',', ''))
                        FROM (SELECT regexp_replace(filter_values.document, '"(\\.|[^"\\])*"', '', 'g') AS bare) AS t)
                ELSE 0 END + 1;
END;
COMMENT ON FUNCTION rowhook.filter_values(text) IS 'How many values the JSON holds at most, roughly, where they are many';

CREATE FUNCTION rowhook.filter_fault(filter text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _path jsonpath;
    _bare text;  -- without the texts and names in it
    _flat text;
    _found jsonb;
BEGIN
    IF length(filter_fault.filter) > 500 THEN
        RETURN ARRAY[format('the filter has %s characters', length(filter_fault.filter)), 'give 500 at most'];
    END IF;
    _path := filter_fault.filter::jsonpath;
    _bare := regexp_replace(_path::text, '"(\\.|[^"\\])*"', '""', 'g');
    IF _bare ~ 'like_regex|\*\*|\.keyvalue\(|,' THEN
        RETURN ARRAY['like_regex, **, keyvalue() and lists of subscripts have no place in a filter: their time has no bound',
                     'compare with ==, <> or <, or by starts with'];
    ELSIF _bare ~ '\$""' THEN
        RETURN ARRAY['the filter has a variable, and nobody gives it a value', 'write the value itself'];
    END IF;
    LOOP  -- what is in brackets goes, from within, as long as it doesn't begin at the root
        _flat := regexp_replace(coalesce(_flat, _bare), '\([^()$]*\)', '', 'g');
        EXIT WHEN _flat !~ '\([^()$]*\)';
    END LOOP;
    IF _flat ~ '\?\(' THEN
        RETURN ARRAY['an expression within ?(…) begins at $, and would be looked for again for each value', 'say @ there'];
    ELSIF rowhook.filter_pairs(filter_fault.filter) > 4 THEN
        RETURN ARRAY['more than 4 comparisons have no literal value on either side', 'give fewer'];
    END IF;
    _found := jsonb_path_query_array('{"type": "a", "data": {}, "previous": {}, "context": {}}', _path, silent => true);
    IF jsonb_array_length(_found) <> 1 OR jsonb_typeof(_found -> 0) NOT IN ('boolean', 'null') OR _bare IN ('true', 'false', 'null') THEN
        RETURN ARRAY['the filter is no predicate: it gives a value, not true or false',
                     'compare, e.g. $.data.amount > 1000, or say exists($.data.amount)'];
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN ARRAY['the filter is no SQL/JSON path (' || SQLERRM || ')', 'give one over type, data, previous and context: $.data.amount > 1000'];
END
$fn$;
COMMENT ON FUNCTION rowhook.filter_fault(text) IS 'Why a text can be no endpoint''s filter, and what would be right; null: it can';

CREATE FUNCTION rowhook.filter_document(type text, data json, previous json, context json DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    IF coalesce(octet_length(filter_document.data::text), 0) + coalesce(octet_length(filter_document.previous::text), 0) > 1048576 THEN
        RETURN to_jsonb('failed: the event is larger than 1 MiB, and filters are not evaluated on such'::text);
    END IF;
    RETURN jsonb_build_object('type', filter_document.type, 'data', filter_document.data, 'previous', filter_document.previous,
                              'context', filter_document.context);
EXCEPTION WHEN OTHERS THEN  -- what json can say and jsonb can't: \u0000, a number of 200,000 digits, nesting without end
    RETURN to_jsonb('failed: the event can not be read by filters (' || SQLERRM || ')');
END
$fn$;
COMMENT ON FUNCTION rowhook.filter_document(text, json, json, json) IS 'An event as filters see it, an object; a text where it can''t be read: why';

CREATE FUNCTION rowhook.filter_verdict(filter text, document jsonb) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _holds boolean;
BEGIN
    IF jsonb_typeof(filter_verdict.document) = 'string' THEN
        RETURN filter_verdict.document #>> '{}';
    ELSIF pg_column_size(filter_verdict.document) > 2048 AND rowhook.filter_pairs(filter_verdict.filter) > 0
          AND rowhook.filter_values(filter_verdict.document::text) > 500 THEN
        RETURN 'failed: the event has more than 500 values, and the filter compares them with each other';
    END IF;
    IF pg_column_size(filter_verdict.document)::bigint * length(filter_verdict.filter) > 100000000 THEN
        RETURN 'failed: the event is too large for so long a filter';
    END IF;
    _holds := jsonb_path_match(filter_verdict.document, filter_verdict.filter::jsonpath);
    RETURN CASE WHEN _holds THEN 'matched' WHEN NOT _holds THEN 'not matched' ELSE 'unknown' END;
EXCEPTION WHEN OTHERS THEN
    RETURN 'failed: ' || SQLERRM;
END
$fn$;
COMMENT ON FUNCTION rowhook.filter_verdict(text, jsonb) IS
    'What a filter says of an event: matched; not matched; unknown (something can''t be compared), which is no match; failed: and why';

CREATE FUNCTION rowhook.filter_verdict(filter text, type text, data json, previous json, context json DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT rowhook.filter_verdict(filter_verdict.filter, rowhook.filter_document(
        filter_verdict.type, filter_verdict.data, filter_verdict.previous, filter_verdict.context));
END;
COMMENT ON FUNCTION rowhook.filter_verdict(text, text, json, json, json) IS 'The same, of an event as it is stored';

CREATE FUNCTION rowhook.filters_take_too_long(is_alone boolean) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    IF filters_take_too_long.is_alone THEN
        RETURN 'failed: the filters of all endpoints took too long on this event';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'RH002', MESSAGE = 'the filters take too long on so many events at once';
END
$fn$;
COMMENT ON FUNCTION rowhook.filters_take_too_long(boolean) IS 'Dispatch: fewer events at once, please; where there is one only, it fails';

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
    filter         text,
    shape          text        NOT NULL DEFAULT 'standard',
    template       text,
    rate           text,
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
    CONSTRAINT filter_is_sound CHECK (rowhook.filter_fault(filter) IS NULL),
    CONSTRAINT shape_known CHECK (shape IN ('standard', 'thin', 'cloudevents', 'cloudevents-binary', 'legacy', 'template')),
    CONSTRAINT template_has_text CHECK ((shape = 'template') = (template IS NOT NULL) AND length(template) <= 20000),
    CONSTRAINT rate_is_a_rate CHECK (rate ~ '^[1-9][0-9]{0,5}/(s|min|h|d)$'),
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
CREATE INDEX endpoint_gated ON rowhook.endpoint (id) WHERE circuit <> 'closed' OR rate IS NOT NULL;

-- A table of its own: it is written with each claim for a limited endpoint, and endpoints are read with each dispatch.
CREATE TABLE rowhook.rate_clock (
    endpoint_id bigint      NOT NULL CONSTRAINT rate_clock_pkey PRIMARY KEY,
    next_at     timestamptz NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE rowhook.rate_clock IS 'Endpoints with a rate: when they may be sent something again';
COMMENT ON COLUMN rowhook.rate_clock.endpoint_id IS 'The endpoint';
COMMENT ON COLUMN rowhook.rate_clock.next_at IS 'When the next request is due, by its rate; it moves on with each claim';

CREATE FUNCTION rowhook.rate_gap(rate text) RETURNS interval LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
    SELECT CASE split_part(rate_gap.rate, '/', 2) WHEN 's' THEN interval '1 s' WHEN 'min' THEN interval '1 min'
                WHEN 'h' THEN interval '1 h' WHEN 'd' THEN interval '24 h' END / split_part(rate_gap.rate, '/', 1)::integer;
END;
COMMENT ON FUNCTION rowhook.rate_gap(text) IS 'The time from one request to the next';

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
COMMENT ON COLUMN rowhook.endpoint.filter IS 'SQL/JSON path over type, data, previous and context: only events for which it is true; null: all';
COMMENT ON COLUMN rowhook.endpoint.shape IS 'What its bodies look like: standard, thin, cloudevents, cloudevents-binary, legacy, template';
COMMENT ON COLUMN rowhook.endpoint.template IS 'Shape template: what makes its bodies, in Jinja''s language';
COMMENT ON COLUMN rowhook.endpoint.rate IS 'Most requests in a time over all relays, e.g. 10/s, 100/min; null: no limit';
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
