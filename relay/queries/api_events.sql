-- name: page
-- The next events, newest first: so many are looked at (walked), those wanted are returned. "last" says how far the walk has come.
WITH walked AS MATERIALIZED (
    SELECT e.id, e.slot,
           e.op <> 'probe'
           AND (%(tenant)s::text IS NULL OR e.tenant = %(tenant)s)
           AND (%(since)s::timestamptz IS NULL OR e.occurred_at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR e.occurred_at <= %(until)s)
           AND (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s) OR e.type ^@ ANY (%(prefixes)s::text[]))
           AND (%(table)s::text IS NULL OR e.table_name = %(table)s) AND (%(row_key)s::text IS NULL OR e.row_key = %(row_key)s) AS wanted
      FROM rowhook.event AS e
     WHERE e.id < %(before)s AND e.id >= %(from)s
     ORDER BY e.id DESC LIMIT %(walk)s
), wanted AS (
    SELECT e.id, rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS public_id, e.occurred_at, e.op::text AS op, e.type, e.table_name,
           e.row_key, e.tenant, e.moved
      FROM (SELECT w.id, w.slot FROM walked AS w WHERE w.wanted ORDER BY w.id DESC LIMIT %(limit)s) AS k
     CROSS JOIN LATERAL (SELECT e.* FROM rowhook.event AS e WHERE e.id = k.id AND e.slot = k.slot) AS e
)
SELECT x.walked, x.last, w.*
  FROM (SELECT count(*) AS walked, min(k.id) AS last FROM walked AS k) AS x LEFT JOIN wanted AS w ON true
 ORDER BY w.id DESC

-- name: one
-- With its data, unless that is larger than is wanted.
SELECT e.id, e.slot, rowhook.public_id('evt', e.occurred_at, e.id, e.slot) AS public_id, e.occurred_at, e.op::text AS op, e.type, e.table_name,
       e.row_key, e.tenant, e.moved, e.truncated IS NOT NULL AS truncated, e.context::text AS context, s.size,
       CASE WHEN s.size <= %(most)s THEN e.data::text END AS data, CASE WHEN s.size <= %(most)s THEN e.previous::text END AS previous
  FROM rowhook.event AS e
 CROSS JOIN LATERAL (SELECT coalesce(octet_length(e.data::text), 0) + coalesce(octet_length(e.previous::text), 0) AS size) AS s
 WHERE e.id = %(event)s AND e.slot = %(event_slot)s

-- name: emit
SELECT rowhook.emit(%(type)s, %(data)s::json, %(key)s::text, %(tenant)s::text) AS id
