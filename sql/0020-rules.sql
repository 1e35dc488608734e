-- Rules: named events of rows for which a predicate holds. Checked when they are defined; their SQL is static, as a capture's.
-- depends: 0019-captures
--
-- A predicate runs inside the writer's statement, as the role that owns the trigger functions: it sees old, new and changed, and
-- may read nothing else. Nothing of it is executed while it is checked.

CREATE FUNCTION rowhook.check_expression(option text, given text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _frame text;
BEGIN
    -- One expression and nothing more: only such a text is whole within either kind of brackets. Parsed as functions' bodies, which
    -- nobody calls.
    FOREACH _frame IN ARRAY ARRAY[E'(%s\n)', E'ARRAY[%s\n]'] LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION rowhook.%I() RETURNS void LANGUAGE plpgsql AS %L', 'expression_' || pg_backend_pid(),
                           format('BEGIN PERFORM %s; END', format(_frame, check_expression.given)));
            RAISE EXCEPTION USING ERRCODE = 'RH003';
        EXCEPTION
            WHEN SQLSTATE 'RH003' THEN NULL;
            WHEN syntax_error THEN
                PERFORM rowhook.refuse(format('%s: it is not an expression of SQL (%s)', check_expression.option, SQLERRM),
                                       'Give a condition, e.g. new.amount > 1000');
        END;
    END LOOP;
END
$fn$;
COMMENT ON FUNCTION rowhook.check_expression(text, text) IS 'Refuse what is not one expression';

CREATE FUNCTION rowhook.predicate_tree(source regclass, op text, predicate text, with_changed boolean) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _view    text := 'predicate_' || pg_backend_pid();
    _columns text := rowhook.seen_columns(predicate_tree.source);
    _tree    text;
BEGIN
    -- What Postgres understands of it, in the same place of the same kind of statement: a view, which is undone at once. The other row
    -- stands beside the one that an operation has, so that a column without "new." or "old." is refused in each of them. A capture's
    -- predicate (op: row) is asked of each row by itself.
    BEGIN
        EXECUTE format(E'CREATE VIEW rowhook.%I AS SELECT 1 AS one FROM (SELECT %s FROM %s) AS %s%s%s WHERE (%s\n)',
            _view, _columns, predicate_tree.source, CASE predicate_tree.op WHEN 'delete' THEN 'old' ELSE 'new' END,
            CASE WHEN predicate_tree.op <> 'row'
                 THEN format(', (SELECT %s FROM %s) AS %s', _columns, predicate_tree.source, CASE predicate_tree.op WHEN 'update' THEN 'old' ELSE 'rowhook_other' END) END,
            CASE WHEN predicate_tree.with_changed THEN ', (SELECT NULL::text[] AS changed) AS rowhook_changed' ELSE '' END, predicate_tree.predicate);
        SELECT r.ev_action::text INTO _tree FROM pg_rewrite AS r WHERE r.ev_class = to_regclass('rowhook.' || _view);
        RAISE EXCEPTION USING ERRCODE = 'RH003';
    EXCEPTION WHEN SQLSTATE 'RH003' THEN
        RETURN _tree;
    END;
END
$fn$;
COMMENT ON FUNCTION rowhook.predicate_tree(regclass, text, text, boolean) IS 'A predicate as Postgres parsed it';

CREATE FUNCTION rowhook.check_predicate(source regclass, op text, predicate text) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _tree    text;
    _changed boolean := false;
    _bad     text;
BEGIN
    PERFORM rowhook.check_expression('predicate', check_predicate.predicate);
    BEGIN
        BEGIN
            _tree := rowhook.predicate_tree(check_predicate.source, check_predicate.op, check_predicate.predicate, false);
        EXCEPTION WHEN undefined_column THEN
            _changed := check_predicate.op = 'update';
            _tree := rowhook.predicate_tree(check_predicate.source, check_predicate.op, check_predicate.predicate, _changed);
        END;
    EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE !~ '^(42|22|0A|23)' OR SQLSTATE = '42501' THEN
            RAISE;
        END IF;
        PERFORM rowhook.refuse('predicate: ' || SQLERRM, format('It sees %s; functions and types outside pg_catalog need their schema',
            CASE check_predicate.op WHEN 'insert' THEN 'new.COLUMN' WHEN 'delete' THEN 'old.COLUMN'
                                    WHEN 'row' THEN 'each row''s columns, by their names or as new.COLUMN (of old and new rows there are rules)'
                                    ELSE 'old.COLUMN, new.COLUMN and changed, the names of the columns that changed' END));
    END;
    IF (SELECT count(*) FROM regexp_matches(_tree, ':rtekind 0 ', 'g'))
       > (SELECT count(*) FROM regexp_matches(rowhook.predicate_tree(check_predicate.source, check_predicate.op, 'true', _changed), ':rtekind 0 ', 'g')) THEN
        PERFORM rowhook.refuse('predicate: it reads a table', 'It may look at the row''s old and new values only');
    END IF;
    SELECT p.oid::regprocedure::text INTO _bad
      FROM pg_proc AS p
     WHERE p.provolatile = 'v'
       AND p.oid IN (SELECT m[2]::oid FROM regexp_matches(_tree, ':(funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS m
                     UNION SELECT o.oprcode FROM regexp_matches(_tree, ':opno (\d+)', 'g') AS m JOIN pg_operator AS o ON o.oid = m[1]::oid)
     LIMIT 1;
    IF FOUND THEN
        PERFORM rowhook.refuse(format('predicate: %s is volatile: it may write, or say another thing each time', _bad),
                               'Call functions that are STABLE or IMMUTABLE, e.g. now() for clock_timestamp()');
    END IF;
    RETURN _changed;
END
$fn$;
COMMENT ON FUNCTION rowhook.check_predicate(regclass, text, text) IS 'Refuse a predicate that is none; whether it asks which columns changed';

CREATE FUNCTION rowhook.predicate_depends(source regclass, predicate text) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _tree text;
BEGIN
    IF predicate_depends.predicate IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM rowhook.check_predicate(predicate_depends.source, 'row', predicate_depends.predicate);
    _tree := rowhook.predicate_tree(predicate_depends.source, 'row', predicate_depends.predicate, false);
    -- A cast by text goes by the session's settings; one to a domain runs what that checks.
    RETURN (
        SELECT CASE WHEN bool_or(p.oid >= 16384) OR _tree ~ '\{COERCETODOMAIN ' THEN 'functions'
                    WHEN bool_or(p.provolatile <> 'i') OR _tree ~ '\{(SQLVALUEFUNCTION|COERCEVIAIO) ' THEN 'settings' ELSE 'row' END
          FROM pg_proc AS p
         WHERE p.oid IN (SELECT m[2]::oid FROM regexp_matches(_tree, ':(funcid|opfuncid) (\d+)', 'g') AS m
                         UNION SELECT o.oprcode FROM regexp_matches(_tree, ':opno (\d+)', 'g') AS m JOIN pg_operator AS o ON o.oid = m[1]::oid));
END
$fn$;
COMMENT ON FUNCTION rowhook.predicate_depends(regclass, text) IS 'Refuse a capture''s predicate that is none; what it depends on: row, settings, functions';

CREATE FUNCTION rowhook.predicate_problem(c rowhook.capture) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _problem text;
BEGIN
    IF (c).predicate IS NOT NULL THEN
        EXECUTE format('SELECT rowhook.predicate_fault(''row'', $1, false, NULL::%s)', (c).table_name) INTO _problem USING (c).predicate;
    END IF;
    RETURN _problem;
END
$fn$;
COMMENT ON FUNCTION rowhook.predicate_problem(rowhook.capture) IS 'Why a capture''s predicate can''t be evaluated today: its table has changed; null: it can';

CREATE FUNCTION rowhook.check_rule(type text, op text) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    IF check_rule.type IS NULL OR check_rule.type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' THEN
        PERFORM rowhook.refuse(format('type: "%s" is not an event type', check_rule.type), 'Use letters, digits, _ and -, with dots between: bill.paid');
    ELSIF NOT EXISTS (SELECT FROM rowhook.pattern_candidates(check_rule.type) AS p WHERE p = '*') THEN
        PERFORM rowhook.refuse(format('type: "%s" is one of Rowhook''s own', check_rule.type), 'Choose another name');
    ELSIF check_rule.op IS NULL OR check_rule.op NOT IN ('insert', 'update', 'delete') THEN
        PERFORM rowhook.refuse(format('op: "%s" is not an operation that a rule can have', check_rule.op), 'Give one of: insert, update, delete');
    END IF;
END
$fn$;
COMMENT ON FUNCTION rowhook.check_rule(text, text) IS 'Refuse a rule''s type or operation';

CREATE FUNCTION rowhook.rule_plan(type text, on_table regclass, op text, predicate text, description text DEFAULT NULL, tenant text DEFAULT NULL,
                                  OUT result text, OUT capture rowhook.capture, OUT sql text) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _was  rowhook.rule;
    _uses boolean;
BEGIN
    PERFORM rowhook.check_rule(rule_plan.type, rule_plan.op);
    IF rule_plan.on_table IS NULL THEN
        PERFORM rowhook.refuse('on_table is null', 'Name an existing table, e.g. on_table => ''bills''');
    END IF;
    PERFORM rowhook.check_source(rule_plan.on_table);
    _uses := rowhook.check_predicate(rule_plan.on_table, rule_plan.op, rule_plan.predicate);
    SELECT r.* INTO _was FROM rowhook.rule AS r WHERE r.table_name = rule_plan.on_table AND r.type = rule_plan.type;
    result := CASE WHEN _was.id IS NULL THEN 'installed'
                   WHEN (_was.op, _was.predicate) IS DISTINCT FROM (rule_plan.op, rule_plan.predicate)
                     OR coalesce(rule_plan.description, _was.description) IS DISTINCT FROM _was.description OR _was.set_aside IS NOT NULL THEN 'changed' ELSE 'unchanged' END;
    INSERT INTO rowhook.rule AS r (table_name, type, op, predicate, description, uses_changed)
    VALUES (rule_plan.on_table, rule_plan.type, rule_plan.op, rule_plan.predicate, nullif(rule_plan.description, ''), _uses)
    ON CONFLICT ON CONSTRAINT rule_once_per_table DO UPDATE
       SET op = excluded.op, predicate = excluded.predicate, uses_changed = excluded.uses_changed, set_aside = NULL, defined_at = clock_timestamp(),
           description = nullif(coalesce(rule_plan.description, r.description), '')
     WHERE rule_plan.result <> 'unchanged';
    -- Tenant and key are its capture's. A table that has none gets one without events of its own.
    capture := rowhook.capture_plan(rule_plan.on_table, tenant => rule_plan.tenant,
        events => CASE WHEN NOT EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = rule_plan.on_table AND c.name = '') THEN '{}'::text[] END);
    sql := rowhook.capture_ddl(capture);  -- here, where the rule is seen
END
$fn$;
COMMENT ON FUNCTION rowhook.rule_plan(text, regclass, text, text, text, text) IS
    'Define a rule without installing it: what its table''s capture becomes, all checked, and the SQL of that';

CREATE FUNCTION rowhook.rule(type text, on_table regclass, op text, predicate text, description text DEFAULT NULL, tenant text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _plan     record;
    _captured text;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;
    SELECT p.result, (p.capture).events, (p.capture).tenant INTO _plan
      FROM rowhook.rule_plan(rule.type, rule.on_table, rule.op, rule.predicate, rule.description, rule.tenant) AS p;
    _captured := rowhook.capture(rule.on_table, tenant => _plan.tenant, events => _plan.events);
    RETURN CASE WHEN _plan.result = 'unchanged' AND _captured <> 'unchanged' THEN 'changed' ELSE _plan.result END;
END
$fn$;
COMMENT ON FUNCTION rowhook.rule(text, regclass, text, text, text, text) IS
    'Make events of a type whenever a predicate holds for a row that is written; returns installed, changed or unchanged';

CREATE FUNCTION rowhook.unrule(type text, on_table regclass) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
#variable_conflict use_column
DECLARE
    _capture rowhook.capture;
BEGIN
    LOCK TABLE rowhook.capture IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM rowhook.rule AS r WHERE r.table_name = unrule.on_table AND r.type = unrule.type;
    IF NOT FOUND THEN
        PERFORM rowhook.refuse(format('table %s has no rule "%s"', coalesce(rowhook.table_label(unrule.on_table), unrule.on_table::text), unrule.type),
            'Its rules are: ' || coalesce((SELECT string_agg(r.type, ', ' ORDER BY r.id) FROM rowhook.rule AS r WHERE r.table_name = unrule.on_table), 'none'));
    END IF;
    SELECT c.* INTO _capture FROM rowhook.capture AS c WHERE c.table_name = unrule.on_table AND c.name = '';
    IF rowhook.operations(_capture) = '{}' THEN
        PERFORM rowhook.uncapture(unrule.on_table);
    ELSE
        PERFORM rowhook.capture(unrule.on_table);
    END IF;
    RETURN 'removed';
END
$fn$;
COMMENT ON FUNCTION rowhook.unrule(text, regclass) IS 'Remove a rule; of a table that only rules made events of no trace is left';

CREATE FUNCTION rowhook.rule_problem(r rowhook.rule) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _problem text;
BEGIN
    -- A null of the table's row type is given along, since the role that looks at it may not even know the table's schema.
    IF EXISTS (SELECT FROM pg_class AS t WHERE t.oid = r.table_name) THEN
        EXECUTE format('SELECT rowhook.predicate_fault($1, $2, $3, NULL::%s)', r.table_name) INTO _problem USING r.op, r.predicate, r.uses_changed;
    END IF;
    RETURN _problem;
END
$fn$;
COMMENT ON FUNCTION rowhook.rule_problem(rowhook.rule) IS 'Why a rule can''t be evaluated today: its table has changed; null: it can';

CREATE FUNCTION rowhook.predicate_fault(op text, predicate text, uses_changed boolean, sample anyelement) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- As the role without power, who will run it: reading a literal can run what owners of types defined (the CHECK of a domain).
    EXECUTE format(E'SELECT FROM %s%s WHERE false AND (%s\n) IS TRUE',
        CASE predicate_fault.op WHEN 'insert' THEN '(SELECT ($1).*) AS new' WHEN 'row' THEN '(SELECT ($1).*) AS new' WHEN 'delete' THEN '(SELECT ($1).*) AS old'
                                ELSE '(SELECT ($1).*) AS old, (SELECT ($1).*) AS new' END,
        CASE WHEN predicate_fault.uses_changed THEN ', (SELECT NULL::text[] AS changed) AS rowhook_changed' ELSE '' END,
        predicate_fault.predicate) USING predicate_fault.sample;
    RETURN NULL;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR feature_not_supported OR invalid_schema_name OR internal_error THEN
    RETURN SQLERRM;
END
$fn$;
COMMENT ON FUNCTION rowhook.predicate_fault(text, text, boolean, anyelement) IS 'Why a predicate can''t be evaluated for rows of this type; null: it can';
SELECT rowhook.give_to_capture_owner('rowhook.predicate_fault(text, text, boolean, anyelement)');

CREATE FUNCTION rowhook.set_rules_aside(source regclass) RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $fn$
    UPDATE rowhook.rule AS r SET set_aside = p.problem
      FROM (SELECT q.id, rowhook.rule_problem(q) AS problem FROM rowhook.rule AS q WHERE q.table_name = set_rules_aside.source) AS p
     WHERE p.id = r.id AND p.problem IS DISTINCT FROM r.set_aside
$fn$;
COMMENT ON FUNCTION rowhook.set_rules_aside(regclass) IS 'Note which rules of a table fit it no longer, and which do again';

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowhook FROM PUBLIC;
