-- name: record
-- Outcomes in one statement: the attempt, the delivery's next state, the endpoint's health. Fenced by (instance, number of the try);
-- a late outcome fills its "lost" attempt and leaves the delivery alone. Locks in id order, deliveries before endpoints, so recorders
-- don't deadlock.
WITH r AS MATERIALIZED (
    SELECT r.*
      FROM unnest(%(deliveries)s::bigint[], %(instances)s::bigint[], %(numbers)s::int[], %(ages)s::bigint[], %(durations)s::bigint[],
                         %(status_codes)s::smallint[], %(error_classes)s::text[], %(errors)s::text[], %(excerpts)s::text[],
                         %(states)s::text[], %(waits)s::float8[], %(counted)s::boolean[], %(endpoints)s::bigint[])
        AS r (delivery_id, instance_id, number, age, duration, status_code, error_class, error, excerpt, state, wait, counted, endpoint_id)
), locked AS MATERIALIZED (
    SELECT r.delivery_id, r.wait, r.counted,
           -- What is to be tried again ends here, if it was given up meanwhile: by --discard, by skip, or with its endpoint.
           CASE WHEN r.state = 'pending' AND (d.last_try OR EXISTS (SELECT FROM rowhook.endpoint AS p WHERE p.id = r.endpoint_id AND p.state = 'removed'))
                THEN 'cancelled' ELSE r.state END AS next,
           d.state = 'leased' AND d.instance_id = r.instance_id AND d.attempts = r.number AS holds
      FROM (SELECT * FROM r ORDER BY r.delivery_id) AS r
     CROSS JOIN LATERAL (SELECT d.state, d.instance_id, d.attempts, d.last_try FROM rowhook.delivery AS d WHERE d.id = r.delivery_id FOR UPDATE) AS d
), written AS (
    INSERT INTO rowhook.attempt (delivery_id, endpoint_id, number, instance_id, started_at, duration, status_code, error_class, error, response_excerpt)
    SELECT r.delivery_id, r.endpoint_id, r.number, r.instance_id, clock_timestamp() - r.age * interval '1 microsecond', r.duration * interval '1 microsecond',
           r.status_code, r.error_class, r.error, r.excerpt
      FROM r
    ON CONFLICT (delivery_id, number) DO UPDATE
       SET id = DEFAULT, recorded_at = DEFAULT, started_at = excluded.started_at, duration = excluded.duration, status_code = excluded.status_code,
           error_class = excluded.error_class, error = excluded.error, response_excerpt = excluded.response_excerpt
     WHERE attempt.error_class = 'lost' AND attempt.instance_id = excluded.instance_id
), ended AS (
    UPDATE rowhook.delivery AS d
       SET state = l.next,
           instance_id = NULL,
           due_at = CASE WHEN l.next = 'pending' THEN clock_timestamp() + make_interval(secs => l.wait) END,
           ended_at = CASE WHEN l.next <> 'pending' THEN clock_timestamp() END,
           failures = d.failures + CASE WHEN l.counted THEN 1 ELSE 0 END,
           free_tries = CASE WHEN l.counted OR l.next = 'delivered' THEN 0 ELSE d.free_tries + 1 END
      FROM locked AS l
     WHERE l.holds AND d.id = l.delivery_id
    RETURNING d.id
), felt AS MATERIALIZED (
    -- What the batch says of its endpoints, where that changes anything: a success of one that fails, a failure that is counted.
    SELECT p.id, p.circuit AS was, p.failures, p.failing_since, coalesce(p.max_in_flight, %(full)s) AS full_ramp, p.ramp, s.well, s.ill, s.since,
           s.asked, p.circuit = 'open' AND clock_timestamp() - make_interval(secs => s.latest) >= p.opened_at AS probed
      FROM unnest(%(signs)s::bigint[], %(well)s::int[], %(ill)s::int[], %(since)s::float8[], %(latest)s::float8[], %(asked)s::float8[])
        AS s (endpoint_id, well, ill, since, latest, asked)
      JOIN rowhook.endpoint AS p ON p.id = s.endpoint_id
     WHERE p.circuit <> 'closed'
        OR CASE WHEN s.well > 0 THEN p.failing_since IS NOT NULL
                ELSE p.failures < %(most_failures)s OR p.failing_since <= clock_timestamp() - %(open_after)s::interval END
     ORDER BY p.id FOR NO KEY UPDATE OF p
), judged AS (
    -- Opens after so many failures in a row and so long; any success of an open one begins the ramp, which each success lengthens;
    -- as many failures in a row as were allowed out (three at least) open it again.
    SELECT f.*,
           CASE WHEN f.well = 0 AND (f.was = 'open'
                     OR f.was = 'ramping' AND f.failures + f.ill >= greatest(f.ramp, 3)
                     OR f.was = 'closed' AND f.failures + f.ill >= %(most_failures)s
                        AND coalesce(f.failing_since, clock_timestamp() - make_interval(secs => f.since)) <= clock_timestamp() - %(open_after)s::interval)
                THEN 'open'
                WHEN f.was <> 'closed' AND coalesce(f.ramp, 1) + f.well < f.full_ramp THEN 'ramping'
                ELSE 'closed' END AS circuit
      FROM felt AS f
), turned AS (
    UPDATE rowhook.endpoint AS p
       SET failing_since = CASE WHEN j.well = 0 THEN coalesce(p.failing_since, clock_timestamp() - make_interval(secs => j.since)) END,
           failures = CASE WHEN j.well = 0 THEN p.failures + j.ill ELSE 0 END,
           circuit = j.circuit,
           revision = p.revision + (j.circuit = 'open' AND j.was <> 'open')::int,
           opened_at = CASE WHEN j.circuit = 'open' AND j.was <> 'open' THEN clock_timestamp() WHEN j.circuit <> 'closed' THEN p.opened_at END,
           probes = CASE WHEN j.circuit = 'open' THEN p.probes + j.probed::int ELSE 0 END,
           probe_at = CASE WHEN j.circuit <> 'open' THEN NULL
                           WHEN j.was = 'open' AND NOT j.probed THEN p.probe_at
                           ELSE clock_timestamp() + make_interval(secs => greatest(j.asked,
                                    %(longest_probe_wait)s * least(1, power(2, least(p.probes + j.probed::int, 30)) / %(steps)s) * (0.75 + random() / 4))) END,
           ramp = CASE WHEN j.circuit = 'ramping' THEN coalesce(p.ramp, 1) + j.well END
      FROM judged AS j WHERE p.id = j.id
    RETURNING p.id, j.was, p.circuit, p.probe_at
)
SELECT (SELECT count(*) FROM ended) AS ended,
       ARRAY(SELECT t.id FROM turned AS t WHERE t.circuit = 'open' AND t.was <> 'open') AS opened,
       (SELECT extract(epoch FROM min(coalesce(t.probe_at, clock_timestamp())) - clock_timestamp())::float8
          FROM turned AS t WHERE t.was <> 'closed' OR t.circuit <> 'closed') AS look_in

-- name: failing_too_long
SELECT p.id FROM rowhook.endpoint AS p
 WHERE p.id = ANY (%(endpoints)s) AND p.state = 'active' AND p.failing_since < clock_timestamp() - %(disable_after)s::interval

-- name: disable
-- And tell those who asked to know: an event of Rowhook's own, in a transaction that stores no snapshot.
WITH disabled AS (
    UPDATE rowhook.endpoint AS p SET state = 'disabled', state_reason = %(reason)s, revision = p.revision + 1
     WHERE p.id = %(endpoint)s AND p.state = 'active'
    RETURNING p.public_id, p.url, p.tenant
)
INSERT INTO rowhook.event (op, type, row_key, tenant, data)
SELECT 'own', 'endpoint.disabled', d.public_id, d.tenant,
       json_build_object('endpoint_id', d.public_id, 'url', d.url, 'reason', %(reason)s::text)
  FROM disabled AS d
RETURNING row_key

-- name: ring
SELECT rowhook.ring()
