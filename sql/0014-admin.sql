-- What administers: the record of changes, and the answers that are repeated to a request which is.
-- depends: 0013-verify

CREATE TABLE rowhook.admin_log (
    id         bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT admin_log_pkey PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    who        text        NOT NULL,
    via        text        NOT NULL,
    action     text        NOT NULL,
    subject    text,
    tenant     text,
    request_id text,
    before     jsonb,
    after      jsonb,
    CONSTRAINT via_known CHECK (via IN ('cli', 'api', 'run')),
    CONSTRAINT action_is_a_name CHECK (action ~ '^[a-z_-]+(\.[a-z_-]+)+$')
);
CREATE INDEX admin_log_of_subject ON rowhook.admin_log (subject, id);

COMMENT ON TABLE rowhook.admin_log IS 'Changes through the API or the command line, each written in the transaction of the change; never a secret';
COMMENT ON COLUMN rowhook.admin_log.id IS 'Internal id';
COMMENT ON COLUMN rowhook.admin_log.at IS 'When';
COMMENT ON COLUMN rowhook.admin_log.who IS 'The name of a token, tenant … of a JWT, user@host of a command, or recipe … of what ROWHOOK_RECIPES names';
COMMENT ON COLUMN rowhook.admin_log.via IS 'cli, api, or run: what settings asked for when a relay started';
COMMENT ON COLUMN rowhook.admin_log.action IS 'What was done: endpoint.add, endpoint.edit, capture.install, …';
COMMENT ON COLUMN rowhook.admin_log.subject IS 'To what: a public id, or the name of a table';
COMMENT ON COLUMN rowhook.admin_log.tenant IS 'Whose that is; null: the operator''s';
COMMENT ON COLUMN rowhook.admin_log.request_id IS 'X-Request-Id of the request that asked for it';
COMMENT ON COLUMN rowhook.admin_log.before IS 'As it was: of a change, what differs; null: there was none';
COMMENT ON COLUMN rowhook.admin_log.after IS 'As it is since; null: it is gone';

CREATE TABLE rowhook.idempotency (
    key         text        NOT NULL,
    principal   text        NOT NULL,
    expires_at  timestamptz NOT NULL,
    fingerprint bytea       NOT NULL,
    key_id      text,
    answer      bytea,
    CONSTRAINT idempotency_pkey PRIMARY KEY (principal, key),
    CONSTRAINT answer_has_key CHECK ((answer IS NULL) = (key_id IS NULL))
);
CREATE INDEX idempotency_expired ON rowhook.idempotency (expires_at);

COMMENT ON TABLE rowhook.idempotency IS 'Answers to POSTs that carried an Idempotency-Key, given again to the same request for a day';
COMMENT ON COLUMN rowhook.idempotency.key IS 'The header''s value';
COMMENT ON COLUMN rowhook.idempotency.principal IS 'Who sent it: keys of others are other keys';
COMMENT ON COLUMN rowhook.idempotency.expires_at IS 'Until then it is remembered';
COMMENT ON COLUMN rowhook.idempotency.fingerprint IS 'SHA-256 over method, path and body: the same key with another request is refused';
COMMENT ON COLUMN rowhook.idempotency.key_id IS 'Which key of ROWHOOK_SECRET_KEY encrypted the answer; null while there is none';
COMMENT ON COLUMN rowhook.idempotency.answer IS 'Status, headers and body, encrypted because a body may show a secret: nonce and AES-256-GCM, bound to principal and key';

-- A tenant's list, however many others have.
CREATE INDEX endpoint_of_tenant ON rowhook.endpoint (tenant, id);

SELECT rowhook.grant_to_roles();
