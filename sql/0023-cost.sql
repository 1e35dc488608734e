-- What a capture and its rules cost a writer, measured on a copy of some of the table's rows.
-- depends: 0022-session

CREATE FUNCTION rowhook.timed(statements text[]) RETURNS double precision[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _best  double precision[] := array_fill(NULL::double precision, ARRAY[cardinality(statements)]);
    _began timestamptz;
    _took  double precision;
BEGIN
    -- The best of five rounds: the first ones plan and warm up, and a machine that others use is slow at times.
    FOR _round IN 1..5 LOOP
        FOR _i IN 1..cardinality(statements) LOOP
            _began := clock_timestamp();
            EXECUTE statements[_i];
            _took := extract(epoch FROM clock_timestamp() - _began) * 1000000;
            _best[_i] := least(_best[_i], _took);
        END LOOP;
    END LOOP;
    RETURN _best;
END
$fn$;
COMMENT ON FUNCTION rowhook.timed(text[]) IS 'How long each of these statements takes, in microseconds';

CREATE FUNCTION rowhook.cost(c rowhook.capture, most integer DEFAULT 1000,
                             OUT op text, OUT rows bigint, OUT bare_us numeric, OUT captured_us numeric) RETURNS SETOF record LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET row_security = off
AS $fn$
#variable_conflict use_column
DECLARE
    _column     text := (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = c.table_name AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum LIMIT 1);
    _statements text[] := ARRAY['INSERT INTO pg_temp.rowhook_copy SELECT * FROM pg_temp.rowhook_rows',
                                format('UPDATE pg_temp.rowhook_copy SET %1$I = %1$I', _column), 'DELETE FROM pg_temp.rowhook_copy'];
    _copy       rowhook.capture := c;
    _rows       bigint;
    _bare       double precision[];
    _captured   double precision[];
BEGIN
    -- On a copy without indexes, by the functions that would be installed, which belong to whom they would; then all is undone. Each
    -- operation is one statement on all rows. The update changes no value: it shows what looking for changes and rules cost.
    BEGIN
        EXECUTE format('CREATE TEMP TABLE rowhook_rows AS SELECT * FROM %s LIMIT %s', c.table_name, most);
        GET DIAGNOSTICS _rows = ROW_COUNT;
        IF _rows > 0 THEN
            CREATE TEMP TABLE rowhook_copy (LIKE pg_temp.rowhook_rows);
            _bare := rowhook.timed(_statements);
            _copy.id := nextval(pg_get_serial_sequence('rowhook.capture', 'id'));
            _copy.table_name := 'pg_temp.rowhook_copy'::regclass;
            INSERT INTO rowhook.rule (table_name, type, op, predicate, uses_changed)
            SELECT _copy.table_name, r.type, r.op, r.predicate, r.uses_changed FROM rowhook.rule AS r WHERE r.table_name = c.table_name ORDER BY r.id;
            EXECUTE rowhook.capture_ddl(_copy);
            _captured := rowhook.timed(_statements);
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'RH003';
    EXCEPTION
        WHEN SQLSTATE 'RH003' THEN NULL;
        WHEN insufficient_privilege THEN RETURN;  -- not a row may be read, or none be hidden
    END;
    RETURN QUERY SELECT o.op, _rows, round((_bare[o.n] / _rows)::numeric, 2), round((_captured[o.n] / _rows)::numeric, 2)
                   FROM unnest('{insert,update,delete}'::text[]) WITH ORDINALITY AS o (op, n)
                  WHERE _rows > 0 AND o.op = ANY (rowhook.operations(c));
END
$fn$;
COMMENT ON FUNCTION rowhook.cost(rowhook.capture, integer) IS
    'Microseconds per row of each operation, without and with a capture as planned; measured in a transaction that is undone';

REVOKE EXECUTE ON FUNCTION rowhook.timed(text[]), rowhook.cost(rowhook.capture, integer) FROM PUBLIC;
