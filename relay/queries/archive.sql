-- name: slot
-- A page of a slot. By the partition's own key: only that one is read.
SELECT e.id AS position, a.* FROM rowhook.event AS e CROSS JOIN LATERAL rowhook.archived(e) AS a
 WHERE e.kept_in = %(slot)s AND e.id > %(after)s ORDER BY e.id LIMIT %(page)s

-- name: before
SELECT e.id AS position, a.* FROM rowhook.event AS e CROSS JOIN LATERAL rowhook.archived(e) AS a
 WHERE e.id > %(after)s AND e.occurred_at < %(before)s AND e.op <> 'probe' ORDER BY e.id LIMIT %(page)s

-- name: mark
-- What the sweep's "seen" holds is in this file.
UPDATE rowhook.ring SET archived_in = %(name)s WHERE slot = %(slot)s AND seen IS NOT NULL
