-- name: begin
SELECT b.id, b.sent, b.after FROM rowhook.begin_backfill(%(table)s::oid::regclass, %(rows)s::text, %(endpoint)s::text, %(name)s::text) AS b

-- name: abandon
DELETE FROM rowhook.backfill AS b WHERE b.id = %(id)s AND b.ended_at IS NULL

-- name: chunk
-- A transaction of its own: its rows' events and how far it is, or neither.
SELECT rowhook.backfill_chunk(%(id)s, %(chunk)s) AS sent
