-- name: write
-- In the transaction of the change: either both are there or neither.
INSERT INTO rowhook.admin_log (who, via, request_id, action, subject, tenant, before, after)
VALUES (%(who)s, %(via)s, %(request_id)s::text, %(action)s, %(subject)s::text, %(tenant)s::text, %(before)s::jsonb, %(after)s::jsonb)
