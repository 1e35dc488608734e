-- Where a time lies among ids. Ids and times are given in the same statement, so they are in the same order but for what was under
-- way at the same moment (and for a clock that was set back): a search by halves finds the place in some forty looks at an index,
-- however much there is. Who asks goes back a minute further, and compares the times of what is found there.

-- name: attempt
-- The first attempt of an endpoint that was recorded at that time or later; the id after the last one where there is none.
WITH RECURSIVE search (low, high) AS (
    SELECT first.id, last.id + 1
      FROM (SELECT a.id FROM rowhook.attempt AS a WHERE a.endpoint_id = %(endpoint)s ORDER BY a.id LIMIT 1) AS first,
           (SELECT a.id FROM rowhook.attempt AS a WHERE a.endpoint_id = %(endpoint)s ORDER BY a.id DESC LIMIT 1) AS last
    UNION ALL
    SELECT CASE WHEN found.at < %(since)s THEN found.id + 1 ELSE s.low END, CASE WHEN found.at < %(since)s THEN s.high ELSE (s.low + s.high) / 2 END
      FROM search AS s
      LEFT JOIN LATERAL (SELECT a.id, a.recorded_at AS at FROM rowhook.attempt AS a
                          WHERE a.endpoint_id = %(endpoint)s AND a.id >= (s.low + s.high) / 2 AND a.id < s.high
                          ORDER BY a.id LIMIT 1) AS found ON true
     WHERE s.low < s.high
)
SELECT coalesce(max(s.low), 0) AS id FROM search AS s

-- name: event
WITH RECURSIVE search (low, high) AS (
    SELECT first.id, last.id + 1
      FROM (SELECT e.id FROM rowhook.event AS e ORDER BY e.id LIMIT 1) AS first,
           (SELECT e.id FROM rowhook.event AS e ORDER BY e.id DESC LIMIT 1) AS last
    UNION ALL
    SELECT CASE WHEN found.at < %(since)s THEN found.id + 1 ELSE s.low END, CASE WHEN found.at < %(since)s THEN s.high ELSE (s.low + s.high) / 2 END
      FROM search AS s
      LEFT JOIN LATERAL (SELECT e.id, e.occurred_at AS at FROM rowhook.event AS e
                          WHERE e.id >= (s.low + s.high) / 2 AND e.id < s.high ORDER BY e.id LIMIT 1) AS found ON true
     WHERE s.low < s.high
)
SELECT coalesce(max(s.low), 0) AS id FROM search AS s

-- name: delivery
WITH RECURSIVE search (low, high) AS (
    SELECT first.id, last.id + 1
      FROM (SELECT d.id FROM rowhook.delivery AS d ORDER BY d.id LIMIT 1) AS first,
           (SELECT d.id FROM rowhook.delivery AS d ORDER BY d.id DESC LIMIT 1) AS last
    UNION ALL
    SELECT CASE WHEN found.at < %(since)s THEN found.id + 1 ELSE s.low END, CASE WHEN found.at < %(since)s THEN s.high ELSE (s.low + s.high) / 2 END
      FROM search AS s
      LEFT JOIN LATERAL (SELECT d.id, d.created_at AS at FROM rowhook.delivery AS d
                          WHERE d.id >= (s.low + s.high) / 2 AND d.id < s.high ORDER BY d.id LIMIT 1) AS found ON true
     WHERE s.low < s.high
)
SELECT coalesce(max(s.low), 0) AS id FROM search AS s
