-- Events that no row carries.
-- depends: 0008-capture-triggers

CREATE FUNCTION rowhook.emit(type text, data json DEFAULT NULL, key text DEFAULT NULL, tenant text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _id text;
BEGIN
    IF emit.type IS NULL OR emit.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' THEN
        PERFORM rowhook.refuse(format('type: "%s" is not an event type', emit.type), 'Use letters, digits, _ and -, with dots between: order.shipped');
    ELSIF NOT EXISTS (SELECT FROM rowhook.pattern_candidates(emit.type) AS p WHERE p = '*') THEN
        PERFORM rowhook.refuse(format('type: "%s" is one of Rowhook''s own', emit.type), 'Choose another name');
    END IF;
    INSERT INTO rowhook.event (op, type, row_key, tenant, data, context)
    VALUES ('emit', emit.type, emit.key, emit.tenant, emit.data, rowhook.session_context())
    RETURNING rowhook.public_id('evt', occurred_at, id, slot) INTO _id;
    PERFORM rowhook.ring();
    RETURN _id;
END
$fn$;
COMMENT ON FUNCTION rowhook.emit(text, json, text, text) IS 'Write an event by hand, in the present transaction; returns its public id';
