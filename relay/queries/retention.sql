-- name: take_role
-- One keeper at a time, over all relays and commands; given back when the session ends.
SELECT pg_try_advisory_lock(%(key)s) AS taken

-- name: survey
-- The slots, and which of them were left longer ago than what is kept. None is due where all is kept.
SELECT r.slot, r.closed_at, r.archived_in, coalesce(r.closed_at <= clock_timestamp() - %(keep)s::interval, false) AS due
  FROM rowhook.survey_ring() AS r ORDER BY r.closed_at NULLS LAST

-- name: turn
SELECT rowhook.turn_ring(%(width)s::interval) AS outcome

-- name: begin_sweep
SELECT rowhook.begin_sweep(%(slot)s) AS begun

-- name: sweep
SELECT s.last_id, s.deliveries, s.moved
  FROM rowhook.sweep_slot(%(slot)s, %(after)s, %(batch)s, clock_timestamp() - %(keep)s::interval) AS s

-- name: empty
SELECT rowhook.empty_slot(%(slot)s, %(patience)s::interval) AS outcome

-- name: sweep_failures
-- Failures that were recorded under on_error = record.
WITH old AS (
    SELECT f.id FROM rowhook.capture_failure AS f
     WHERE f.occurred_at < clock_timestamp() - %(keep)s::interval ORDER BY f.id LIMIT %(batch)s
), gone AS (
    DELETE FROM rowhook.capture_failure AS f USING old AS o WHERE f.id = o.id RETURNING f.id
)
SELECT count(*) AS removed FROM gone

-- name: vacuum_settings
-- Not at full speed; and it may take longer than a statement otherwise may.
SELECT set_config('vacuum_cost_delay', '1ms', false), set_config('vacuum_cost_limit', '1000', false), set_config('statement_timeout', '0', false)

-- name: vacuum_deliveries
-- What was deleted makes room for what comes. Autovacuum does it too, but once a minute at best. Who may not is told so and goes on.
VACUUM (SKIP_LOCKED) rowhook.delivery

-- name: vacuum_attempts
VACUUM (SKIP_LOCKED) rowhook.attempt

-- name: report
UPDATE rowhook.retention
   SET keep = %(keep)s::interval, ran_at = clock_timestamp(), trouble = %(trouble)s::text
