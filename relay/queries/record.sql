-- name: record
-- Outcomes in one statement: the attempt, the delivery's next state, the endpoint's health. Fenced by (instance, number of the try);
-- a late outcome fills its "lost" attempt and leaves the delivery alone. Locks in id order, so recorders don't deadlock.
WITH r AS MATERIALIZED (
    SELECT r.delivery_id, r.instance_id, r.number, r.age, r.duration, r.status_code, r.error_class, r.error, r.excerpt, r.wait, r.counted,
           r.endpoint_id,
           -- What is to be tried again ends here, if its endpoint was removed meanwhile: nobody would claim it.
           CASE WHEN r.state = 'pending' AND EXISTS (SELECT FROM rowhook.endpoint AS p WHERE p.id = r.endpoint_id AND p.state = 'removed')
                THEN 'cancelled' ELSE r.state END AS next
      FROM unnest(%(deliveries)s::bigint[], %(instances)s::bigint[], %(numbers)s::int[], %(ages)s::bigint[], %(durations)s::bigint[],
                         %(status_codes)s::smallint[], %(error_classes)s::text[], %(errors)s::text[], %(excerpts)s::text[],
                         %(states)s::text[], %(waits)s::float8[], %(counted)s::boolean[], %(endpoints)s::bigint[])
        AS r (delivery_id, instance_id, number, age, duration, status_code, error_class, error, excerpt, state, wait, counted, endpoint_id)
), locked AS MATERIALIZED (
    SELECT r.*, d.state = 'leased' AND d.instance_id = r.instance_id AND d.attempts = r.number AS holds
      FROM (SELECT * FROM r ORDER BY r.delivery_id) AS r
     CROSS JOIN LATERAL (SELECT d.state, d.instance_id, d.attempts FROM rowhook.delivery AS d WHERE d.id = r.delivery_id FOR UPDATE) AS d
), written AS (
    INSERT INTO rowhook.attempt (delivery_id, number, instance_id, started_at, duration, status_code, error_class, error, response_excerpt)
    SELECT r.delivery_id, r.number, r.instance_id, clock_timestamp() - r.age * interval '1 microsecond', r.duration * interval '1 microsecond',
           r.status_code, r.error_class, r.error, r.excerpt
      FROM r
    ON CONFLICT (delivery_id, number) DO UPDATE
       SET started_at = excluded.started_at, duration = excluded.duration, status_code = excluded.status_code,
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
), well AS (
    UPDATE rowhook.endpoint AS p SET failing_since = NULL
     WHERE p.failing_since IS NOT NULL AND p.id IN (SELECT r.endpoint_id FROM r WHERE r.next = 'delivered')
), ill AS (
    UPDATE rowhook.endpoint AS p SET failing_since = clock_timestamp()
     WHERE p.failing_since IS NULL
       AND p.id IN (SELECT r.endpoint_id FROM r WHERE r.counted AND r.error_class <> 'internal' EXCEPT SELECT r.endpoint_id FROM r WHERE r.next = 'delivered')
)
SELECT (SELECT count(*) FROM ended) AS ended

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
