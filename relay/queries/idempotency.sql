-- name: take
-- A row if the key was free, or is by now. Who takes the same at this moment is waited for, to its commit.
INSERT INTO rowhook.idempotency AS i (principal, key, fingerprint, expires_at)
VALUES (%(principal)s, %(key)s, %(fingerprint)s, clock_timestamp() + %(kept)s::interval)
ON CONFLICT (principal, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, expires_at = excluded.expires_at, key_id = NULL, answer = NULL
 WHERE i.expires_at <= clock_timestamp()
RETURNING 1 AS taken

-- name: find
SELECT i.fingerprint, i.key_id, i.answer FROM rowhook.idempotency AS i WHERE i.principal = %(principal)s AND i.key = %(key)s

-- name: keep
UPDATE rowhook.idempotency AS i SET key_id = %(key_id)s, answer = %(answer)s WHERE i.principal = %(principal)s AND i.key = %(key)s

-- name: forget
-- A few at a time, with each that comes.
DELETE FROM rowhook.idempotency AS i
 WHERE (i.principal, i.key) IN (SELECT o.principal, o.key FROM rowhook.idempotency AS o
                                 WHERE o.expires_at <= clock_timestamp() ORDER BY o.expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
