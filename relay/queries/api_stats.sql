-- name: attempts
-- An endpoint's attempts by hour or day, newest first: of its last so many, those that were recorded since. What was lost has no
-- latency. An attempt's bucket is that of its recording, by which they are in order.
WITH walked AS MATERIALIZED (
    SELECT a.id, a.delivery_id, a.recorded_at, a.error_class, extract(epoch FROM a.duration)::float8 * 1000 AS latency
      FROM rowhook.attempt AS a
     WHERE a.endpoint_id = %(endpoint)s AND a.id >= %(from)s
     ORDER BY a.id DESC LIMIT %(walk)s
)
SELECT x.walked, x.oldest, b.*
  FROM (SELECT count(*) AS walked, min(w.recorded_at) AS oldest FROM walked AS w) AS x
  LEFT JOIN (SELECT date_trunc(%(per)s, w.recorded_at, 'UTC') AS start,
                    count(*) AS attempts, count(*) FILTER (WHERE w.error_class IS NULL) AS succeeded,
                    percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY w.latency) AS latencies
               FROM walked AS w WHERE w.recorded_at >= %(since)s
              GROUP BY ROLLUP (date_trunc(%(per)s, w.recorded_at, 'UTC'))) AS b ON true
 ORDER BY b.start DESC NULLS FIRST

-- name: deliveries
-- Of the deliveries that were tried in that time: how many are in which state now.
WITH walked AS MATERIALIZED (
    SELECT a.delivery_id, a.recorded_at FROM rowhook.attempt AS a
     WHERE a.endpoint_id = %(endpoint)s AND a.id >= %(from)s
     ORDER BY a.id DESC LIMIT %(walk)s
)
SELECT d.state, count(*) AS total
  FROM (SELECT DISTINCT w.delivery_id FROM walked AS w WHERE w.recorded_at >= %(since)s) AS w
  JOIN rowhook.delivery AS d ON d.id = w.delivery_id
 GROUP BY d.state

-- name: waiting
-- What there is now, by the partial indexes over live work; as far as %(most)s each.
SELECT (SELECT count(*) FROM (SELECT FROM rowhook.delivery AS d WHERE d.endpoint_id = %(endpoint)s AND d.state = 'pending' LIMIT %(most)s) AS p) AS pending,
       (SELECT count(*) FROM (SELECT FROM rowhook.delivery AS d WHERE d.endpoint_id = %(endpoint)s AND d.state = 'leased' LIMIT %(most)s) AS l) AS leased,
       (SELECT count(*) FROM (SELECT FROM rowhook.delivery AS d WHERE d.endpoint_id = %(endpoint)s AND d.state = 'dead' LIMIT %(most)s) AS x) AS dead,
       (SELECT d.due_at FROM rowhook.delivery AS d WHERE d.endpoint_id = %(endpoint)s AND d.state = 'pending' ORDER BY d.due_at LIMIT 1) AS next_due_at

-- name: now
SELECT clock_timestamp() AS now
