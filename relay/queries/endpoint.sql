-- name: load
-- What the sender must know of endpoints; all secrets that still sign, newest first, encrypted as they are stored.
SELECT p.id, p.public_id, p.revision, p.url, p.max_in_flight, p.ordered, p.rate IS NOT NULL AS limited, p.template, p.state = 'active' AND p.circuit <> 'open' AS sendable,
       p.headers, p.headers_key_id AS headers_key, p.ca_certificates, p.client_certificate, p.client_key, p.client_key_id,
       ARRAY(SELECT extract(epoch FROM w)::float8 FROM unnest(p.retry_schedule) AS w) AS schedule,
       p.retry_schedule IS NOT NULL AS has_schedule,
       extract(epoch FROM p.timeout)::float8 AS timeout,
       ARRAY(SELECT s.id FROM rowhook.secret AS s WHERE s.endpoint_id = p.id
              AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp()) ORDER BY s.id DESC) AS secret_ids,
       ARRAY(SELECT s.key_id FROM rowhook.secret AS s WHERE s.endpoint_id = p.id
              AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp()) ORDER BY s.id DESC) AS secret_keys,
       ARRAY(SELECT s.ciphertext FROM rowhook.secret AS s WHERE s.endpoint_id = p.id
              AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp()) ORDER BY s.id DESC) AS secrets,
       ARRAY(SELECT coalesce(extract(epoch FROM s.expires_at)::float8, 'infinity') FROM rowhook.secret AS s WHERE s.endpoint_id = p.id
              AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp()) ORDER BY s.id DESC) AS expiries
  FROM rowhook.endpoint AS p WHERE p.id = ANY (%(endpoints)s)

-- name: revisions
-- Which of these have changed.
SELECT p.id, p.revision FROM rowhook.endpoint AS p WHERE p.id = ANY (%(endpoints)s)
