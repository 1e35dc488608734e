-- name: by_id
SELECT p.* FROM rowhook.endpoint AS p WHERE p.id = %(id)s

-- name: briefly
SELECT p.id, p.public_id, p.tenant, p.state FROM rowhook.endpoint AS p WHERE p.id = %(id)s

-- name: lock
-- One change at a time; the row is read after this.
SELECT 1 AS locked FROM rowhook.endpoint AS p WHERE p.id = %(id)s FOR UPDATE

-- name: all
SELECT p.* FROM rowhook.endpoint AS p WHERE p.state <> 'removed' OR %(removed)s ORDER BY p.id

-- name: page
-- Newest first. Endpoints are few beside what they get: what is passed over costs little.
SELECT p.* FROM rowhook.endpoint AS p
 WHERE (%(before)s::bigint IS NULL OR p.id < %(before)s)
   AND (%(tenant)s::text IS NULL OR p.tenant = %(tenant)s)
   AND CASE WHEN %(state)s::text IS NULL THEN p.state <> 'removed' ELSE p.state = %(state)s END
 ORDER BY p.id DESC LIMIT %(limit)s

-- name: hold_tenant
-- Who adds an endpoint for this tenant waits for whoever is about to.
SELECT 1 AS held FROM pg_advisory_xact_lock(hashtextextended('rowhook tenant ' || %(tenant)s, 0))

-- name: count_of_tenant
SELECT count(*) AS total FROM rowhook.endpoint AS p WHERE p.tenant = %(tenant)s AND p.state <> 'removed'

-- name: details
-- The counts come from the partial indexes; a count of all deliveries would read the whole history.
SELECT (SELECT count(*) FROM rowhook.delivery AS d WHERE d.endpoint_id = %(id)s AND d.state = 'pending') AS pending,
       (SELECT count(*) FROM rowhook.delivery AS d WHERE d.endpoint_id = %(id)s AND d.state = 'dead') AS dead,
       (SELECT coalesce(json_agg(json_build_object('created_at', s.created_at, 'expires_at', s.expires_at,
                                                   'scheme', CASE WHEN s.public_key IS NULL THEN 'hmac' ELSE 'ed25519' END,
                                                   'public_key', s.public_key) ORDER BY s.id DESC),
                        '[]')
          FROM rowhook.secret AS s
         WHERE s.endpoint_id = %(id)s AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())) AS secrets

-- name: add
-- Its first secret follows in the same transaction: one without a secret could not be sent to.
INSERT INTO rowhook.endpoint (url, events, tenant, description, retry_schedule, timeout, max_in_flight, ordered, filter, shape, template, rate)
VALUES (%(url)s, %(events)s::text[], %(tenant)s::text, %(description)s::text, %(retry_schedule)s::interval[],
        %(timeout)s::interval, %(max_in_flight)s::integer, %(ordered)s,
        %(filter)s::text, %(shape)s, %(template)s::text, %(rate)s::text)
RETURNING *

-- name: last_event
SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('rowhook.event', 'id')), 0) AS last_id

-- name: deliver_past
SELECT p.last_id, p.made FROM rowhook.deliver_past(%(id)s, %(since)s, %(after)s, %(upto)s, %(batch)s) AS p

-- name: edit
-- A new URL is probed at once.
UPDATE rowhook.endpoint AS p
   SET url = %(url)s, events = %(events)s::text[], tenant = %(tenant)s::text, description = %(description)s::text,
       retry_schedule = %(retry_schedule)s::interval[], timeout = %(timeout)s::interval,
       max_in_flight = %(max_in_flight)s::integer, ordered = %(ordered)s, filter = %(filter)s::text, shape = %(shape)s,
       template = %(template)s::text, rate = %(rate)s::text, revision = p.revision + 1,
       probe_at = CASE WHEN p.circuit = 'open' AND p.url <> %(url)s THEN clock_timestamp() ELSE p.probe_at END
 WHERE p.id = %(id)s
RETURNING p.*

-- name: filter_fault
-- What is wrong with a filter, and what would be right; null: nothing.
SELECT rowhook.filter_fault(%(filter)s) AS fault

-- name: set_state
UPDATE rowhook.endpoint AS p
   SET state = %(state)s, state_reason = %(reason)s::text, revision = p.revision + 1
 WHERE p.id = %(id)s
RETURNING p.*

-- name: forget_failures
-- Who is made active begins with a clean slate.
UPDATE rowhook.endpoint AS p
   SET failing_since = NULL, circuit = 'closed', failures = 0, opened_at = NULL, probes = 0, probe_at = NULL, ramp = NULL
 WHERE p.id = %(id)s
RETURNING p.*

-- name: give_up_leased
-- What is out ends as it ends, but is not tried again: a relay cancels it when it fails, or gives it back, or dies.
WITH picked AS MATERIALIZED (
    SELECT d.id FROM rowhook.delivery AS d
     WHERE d.endpoint_id = %(id)s AND d.state = 'leased' AND NOT d.last_try ORDER BY d.id LIMIT %(batch)s FOR UPDATE
), marked AS (
    UPDATE rowhook.delivery AS d SET last_try = true FROM picked AS k WHERE d.id = k.id RETURNING d.id
)
SELECT count(*) AS marked FROM marked
-- name: under_way
-- Who writes deliveries at this moment, and may have read endpoints before the last commit. The lock is taken before a statement's
-- snapshot, so whoever isn't listed reads what is committed now.
SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') AS under_way
  FROM pg_locks AS l
 WHERE l.locktype = 'relation' AND l.relation = 'rowhook.delivery'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid IS DISTINCT FROM pg_backend_pid()

-- name: cancel_pending
WITH picked AS MATERIALIZED (
    SELECT d.id FROM rowhook.delivery AS d
     WHERE d.endpoint_id = %(id)s AND d.state = 'pending' ORDER BY d.id LIMIT %(batch)s FOR UPDATE
), cancelled AS (
    UPDATE rowhook.delivery AS d SET state = 'cancelled', due_at = NULL, ended_at = clock_timestamp()
      FROM picked AS k WHERE d.id = k.id RETURNING d.id
)
SELECT count(*) AS cancelled FROM cancelled

-- name: expire_secrets
-- The old ones end when the overlap does, or before, if they were to.
WITH expiry AS (
    SELECT clock_timestamp() + %(overlap)s::interval AS overlap_until
), expired AS (
    UPDATE rowhook.secret AS s SET expires_at = least(s.expires_at, e.overlap_until)
      FROM expiry AS e
     WHERE s.endpoint_id = %(id)s AND (s.expires_at IS NULL OR s.expires_at > e.overlap_until)
)
SELECT e.overlap_until FROM expiry AS e

-- name: newest_public_key
-- A row; its key is null where the newest secret signs by HMAC.
SELECT s.public_key FROM rowhook.secret AS s WHERE s.endpoint_id = %(id)s ORDER BY s.id DESC LIMIT 1

-- name: revise
-- Its secrets have changed.
UPDATE rowhook.endpoint AS p SET revision = p.revision + 1 WHERE p.id = %(id)s RETURNING p.*

-- name: notify
SELECT pg_notify('rowhook_work', ''), pg_notify('rowhook_endpoint', '')
