-- name: facts
-- What bears on what the rows will say, as of the same snapshot.
SELECT c.paused, c.events, c.predicate, b.complete, b.renumbered, h.removed_id > c.since_event AS was_cut,
       c.key <@ coalesce(rowhook.captured_columns(c), c.key) AS has_key,
       (SELECT count(*) FROM rowhook.capture_failure AS f WHERE f.table_name = ANY (c.labels) AND f.name = c.name) AS failures
  FROM rowhook.capture AS c CROSS JOIN LATERAL rowhook.log_of(c) AS b CROSS JOIN rowhook.horizon AS h
 WHERE c.table_name = %(table)s::oid::regclass AND c.name = %(name)s::text

-- name: rows
-- A line for each row that differs, the rest counted.
SELECT v.verdict, v.row_key, v.columns, v.added, v.dropped, v.count FROM rowhook.verify(%(table)s::oid::regclass, %(name)s::text) AS v
