-- Columns that are redacted, and values found by a foreign key: what is refused, and rights given back.
-- depends: 0020-rules

CREATE FUNCTION rowhook.check_redact(c rowhook.capture) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _column text;
    _method text;
BEGIN
    IF c.redact IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(c.redact) <> 'object' THEN
        PERFORM rowhook.refuse('redact is not a JSON object', 'Give columns and how: {"email": "sha256", "card": "last4", "phone": "mask"}');
    END IF;
    FOR _column, _method IN SELECT * FROM jsonb_each_text(c.redact) LOOP
        IF _method IS NULL OR _method NOT IN ('sha256', 'mask', 'last4') THEN
            PERFORM rowhook.refuse(format('redact: "%s" is no way to make column "%s" unreadable', _method, _column), 'Give sha256, mask or last4');
        ELSIF _column = ANY (c.key || c.tenant) THEN
            -- It would be in the event all the same.
            PERFORM rowhook.refuse(format('redact: column "%s" is the row key''s or the tenant''s, which events need as it is', _column),
                                   'Choose another key or tenant, or leave the column out of redact');
        END IF;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.check_redact(rowhook.capture) IS 'Refuse what can''t be redacted';

CREATE FUNCTION rowhook.check_enrich(c rowhook.capture) RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _name  text;
    _path  text;
    _found record;
BEGIN
    IF c.enrich IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(c.enrich) <> 'object' THEN
        PERFORM rowhook.refuse('enrich is not a JSON object', 'Give names, and where their values are: {"category_name": "category_id.name"}');
    END IF;
    FOR _name, _path IN SELECT * FROM jsonb_each_text(c.enrich) LOOP
        IF _path IS NULL OR _path !~ '^[^.]+\.[^.]+$' THEN
            PERFORM rowhook.refuse(format('enrich: "%s" does not say where "%s" is', _path, _name), 'Give COLUMN.COLUMN: a foreign key, and a column of the row that it leads to');
        END IF;
        PERFORM rowhook.check_columns(c.table_name, 'enrich', ARRAY[split_part(_path, '.', 1)]);
        IF _name = ANY (rowhook.columns_of(c.table_name)) THEN
            PERFORM rowhook.refuse(format('enrich: table %s has a column "%s" itself', rowhook.table_label(c.table_name), _name), 'Choose another name');
        END IF;
        SELECT e.* INTO _found FROM rowhook.enrichments(c) AS e WHERE e.name = _name;
        IF NOT FOUND THEN
            PERFORM rowhook.check_columns(f.confrelid::regclass, 'enrich', ARRAY[split_part(_path, '.', 2)])
               FROM pg_constraint AS f JOIN pg_attribute AS n ON n.attrelid = f.conrelid AND f.conkey = ARRAY[n.attnum]
              WHERE f.conrelid = c.table_name AND f.contype = 'f' AND n.attname = split_part(_path, '.', 1);
            PERFORM rowhook.refuse(format('enrich: column "%s" of table %s is no foreign key by itself', split_part(_path, '.', 1), rowhook.table_label(c.table_name)),
                                   'Name a column that REFERENCES one of another table');
        END IF;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.check_enrich(rowhook.capture) IS 'Refuse further values that no foreign key leads to';

CREATE FUNCTION rowhook.revoke_enrichments(was rowhook.capture, becomes rowhook.capture) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _surplus record;
BEGIN
    -- Columns that a capture read and none reads any more. (The recipe finmind has rights of its own on its expenses.)
    FOR _surplus IN
        SELECT e.far, col.name FROM rowhook.enrichments(was) AS e CROSS JOIN LATERAL (VALUES (e.far_key), (e.far_column)) AS col (name)
        EXCEPT
        SELECT e.far, col.name
          FROM (SELECT b.* FROM (SELECT (becomes).*) AS b UNION ALL SELECT c.* FROM rowhook.capture AS c WHERE c.id IS DISTINCT FROM was.id) AS c
         CROSS JOIN LATERAL rowhook.enrichments(c.*::rowhook.capture) AS e CROSS JOIN LATERAL (VALUES (e.far_key), (e.far_column)) AS col (name)
    LOOP
        IF rowhook.capture_owner() <> current_user
           AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = _surplus.far AND t.tgname = '!rowhook_budget_insert') THEN
            EXECUTE format('REVOKE SELECT (%I) ON %s FROM %I', _surplus.name, _surplus.far, rowhook.capture_owner());
        END IF;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.revoke_enrichments(rowhook.capture, rowhook.capture) IS 'Take back rights that were given for further values';

REVOKE EXECUTE ON FUNCTION rowhook.check_redact(rowhook.capture), rowhook.check_enrich(rowhook.capture),
    rowhook.revoke_enrichments(rowhook.capture, rowhook.capture) FROM PUBLIC;
