-- name: old_secrets
SELECT s.id, s.endpoint_id, s.key_id, s.ciphertext, p.public_id
  FROM rowhook.secret AS s JOIN rowhook.endpoint AS p ON p.id = s.endpoint_id
 WHERE s.key_id <> %(newest)s AND s.id > %(after)s
 ORDER BY s.id LIMIT %(batch)s FOR UPDATE OF s

-- name: renew_secrets
UPDATE rowhook.secret AS s SET key_id = %(key_id)s, ciphertext = %(ciphertext)s WHERE s.id = %(id)s

-- name: old_headers
SELECT p.id, p.public_id, p.headers_key_id AS key_id, p.headers AS ciphertext
  FROM rowhook.endpoint AS p
 WHERE p.headers_key_id <> %(newest)s AND p.id > %(after)s
 ORDER BY p.id LIMIT %(batch)s FOR NO KEY UPDATE

-- name: renew_headers
UPDATE rowhook.endpoint AS p SET headers_key_id = %(key_id)s, headers = %(ciphertext)s WHERE p.id = %(id)s

-- name: old_client_keys
SELECT p.id, p.public_id, p.client_key_id AS key_id, p.client_key AS ciphertext
  FROM rowhook.endpoint AS p
 WHERE p.client_key_id <> %(newest)s AND p.id > %(after)s
 ORDER BY p.id LIMIT %(batch)s FOR NO KEY UPDATE

-- name: renew_client_keys
UPDATE rowhook.endpoint AS p SET client_key_id = %(key_id)s, client_key = %(ciphertext)s WHERE p.id = %(id)s
