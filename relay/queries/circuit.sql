-- name: take
-- Endpoints with open or ramping circuits whose time has come, each for one relay at a time. A statement of its own, so that the
-- next one's snapshot shows what others leased before this lock was had: one probe over all relays, and one ramp.
SELECT p.id FROM rowhook.endpoint AS p
 WHERE p.circuit <> 'closed' AND p.state = 'active' AND (p.probe_at IS NULL OR p.probe_at <= clock_timestamp())
 ORDER BY p.id FOR NO KEY UPDATE SKIP LOCKED

-- name: rooms
-- How many deliveries may be leased now: one where nothing is, or what the ramp leaves. What was out when it opened counts too.
SELECT p.id, p.max_in_flight,
       CASE p.circuit WHEN 'open' THEN (l.leased = 0)::int ELSE greatest(p.ramp - l.leased, 0) END AS room
  FROM rowhook.endpoint AS p
 CROSS JOIN LATERAL (SELECT count(*)::int AS leased FROM rowhook.delivery AS d WHERE d.state = 'leased' AND d.endpoint_id = p.id) AS l
 WHERE p.id = ANY (%(endpoints)s)

-- name: close
-- The ramp is longer than what waits: there is no herd to hold back any more.
UPDATE rowhook.endpoint AS p
   SET circuit = 'closed', failures = 0, opened_at = NULL, probes = 0, ramp = NULL
 WHERE p.id = ANY (%(endpoints)s) AND p.circuit = 'ramping'

-- name: tell
-- Relays that hold claimed-ahead deliveries of an endpoint look at it.
SELECT pg_notify('rowhook_endpoint', '')
