-- name: take
-- Endpoints with open or ramping circuits, or with a rate, whose time has come, each for one relay at a time. A statement of its own,
-- so that the next one's snapshot shows what others leased before this lock was had: one probe over all relays, one ramp, one rate.
SELECT p.id FROM rowhook.endpoint AS p
 WHERE (p.circuit <> 'closed' OR p.rate IS NOT NULL) AND p.state = 'active' AND (p.probe_at IS NULL OR p.probe_at <= clock_timestamp())
   AND (p.rate IS NULL
        OR NOT EXISTS (SELECT FROM rowhook.rate_clock AS c WHERE c.endpoint_id = p.id AND c.next_at > clock_timestamp())
           AND EXISTS (SELECT FROM rowhook.delivery AS d WHERE d.endpoint_id = p.id AND d.state = 'pending' AND d.due_at <= clock_timestamp()))
 ORDER BY p.id FOR NO KEY UPDATE SKIP LOCKED

-- name: rooms
-- How many deliveries may be leased now: one where nothing is, or what the ramp leaves; what was out when it opened counts too. And
-- as many as a rate's clock is behind the time; it falls back by a quarter of a second at most, or else a pause would be made up for.
SELECT p.id, p.max_in_flight, p.rate IS NOT NULL AS limited,
       least(CASE p.circuit WHEN 'open' THEN (l.leased = 0)::int WHEN 'ramping' THEN greatest(p.ramp - l.leased, 0) END,
             CASE WHEN p.rate IS NOT NULL
                  THEN greatest(floor(extract(epoch FROM t.at - greatest(c.next_at, t.at - greatest(interval '250 ms' - g.gap, interval '0')))
                                      / extract(epoch FROM g.gap)) + 1, 0)::int END) AS room
  FROM rowhook.endpoint AS p
 CROSS JOIN (SELECT clock_timestamp() AS at) AS t
 CROSS JOIN LATERAL (SELECT rowhook.rate_gap(p.rate) AS gap) AS g
  LEFT JOIN rowhook.rate_clock AS c ON c.endpoint_id = p.id AND p.rate IS NOT NULL
 CROSS JOIN LATERAL (SELECT count(*)::int AS leased FROM rowhook.delivery AS d
                      WHERE p.circuit <> 'closed' AND d.state = 'leased' AND d.endpoint_id = p.id) AS l
 WHERE p.id = ANY (%(endpoints)s)

-- name: spend
-- What was claimed moves the clocks of rates on, under the endpoints' locks; in how many seconds each is due again.
WITH spent AS (
    INSERT INTO rowhook.rate_clock AS c (endpoint_id, next_at)
    SELECT p.id, greatest(c.next_at, t.at - greatest(interval '250 ms' - g.gap, interval '0')) + s.claimed * g.gap
      FROM unnest(%(endpoints)s::bigint[], %(claimed)s::int[]) AS s (endpoint_id, claimed)
      JOIN rowhook.endpoint AS p ON p.id = s.endpoint_id
     CROSS JOIN (SELECT clock_timestamp() AS at) AS t
     CROSS JOIN LATERAL (SELECT rowhook.rate_gap(p.rate) AS gap) AS g
      LEFT JOIN rowhook.rate_clock AS c ON c.endpoint_id = p.id
    ON CONFLICT (endpoint_id) DO UPDATE SET next_at = excluded.next_at
    RETURNING c.endpoint_id, c.next_at
)
SELECT s.endpoint_id, extract(epoch FROM s.next_at - clock_timestamp())::float8 AS wait FROM spent AS s

-- name: close
-- The ramp is longer than what waits: there is no herd to hold back any more.
UPDATE rowhook.endpoint AS p
   SET circuit = 'closed', failures = 0, opened_at = NULL, probes = 0, ramp = NULL
 WHERE p.id = ANY (%(endpoints)s) AND p.circuit = 'ramping'

-- name: tell
-- Relays that hold claimed-ahead deliveries of an endpoint look at it.
SELECT pg_notify('rowhook_endpoint', '')
