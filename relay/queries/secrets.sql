-- name: next_id
-- Known before the row is made, because its ciphertext is bound to it.
SELECT nextval('rowhook.secret_id_seq') AS id

-- name: add
INSERT INTO rowhook.secret (id, endpoint_id, public_key, key_id, ciphertext) OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(endpoint)s, %(public_key)s::text, %(key_id)s, %(ciphertext)s)

-- name: set_headers
UPDATE rowhook.endpoint AS p
   SET header_names = %(names)s::text[], headers_key_id = %(key_id)s::text, headers = %(ciphertext)s::bytea
 WHERE p.id = %(id)s

-- name: set_authority
UPDATE rowhook.endpoint AS p SET ca_certificates = %(authority)s::text WHERE p.id = %(id)s

-- name: set_client
UPDATE rowhook.endpoint AS p
   SET client_certificate = %(certificate)s::text, client_key_id = %(key_id)s::text, client_key = %(ciphertext)s::bytea
 WHERE p.id = %(id)s

-- name: keys_in_use
-- What a relay must be able to decrypt.
SELECT s.key_id FROM rowhook.secret AS s JOIN rowhook.endpoint AS p ON p.id = s.endpoint_id
 WHERE p.state <> 'removed' AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
UNION
SELECT p.headers_key_id FROM rowhook.endpoint AS p WHERE p.state <> 'removed' AND p.headers IS NOT NULL
UNION
SELECT p.client_key_id FROM rowhook.endpoint AS p WHERE p.state <> 'removed' AND p.client_key IS NOT NULL
ORDER BY 1
