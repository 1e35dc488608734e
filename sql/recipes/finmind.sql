-- FinMind's seven events: expense.created, .updated, .deleted, bill.created, bill.paid, reminder.fired, budget.exceeded.
--
-- ROWHOOK_RECIPES=finmind makes `rowhook run` install this; so does psql -1 -f sql/recipes/finmind.sql. Again it changes nothing, and
-- never what an operator has chosen otherwise. FinMind's tables are looked for in the schema that rowhook.recipe_schema names,
-- public otherwise. SELECT rowhook.remove_finmind() takes it all back.
--
-- FinMind knows no budgets: they are rows of rowhook.budget. Statements note which months of whom they changed (budget_touch); as the
-- transaction commits, a deferred trigger locks those users' budgets, in their order, and asks FinMind's own rows for the
-- sums. So two writers that together cross a limit come one after the other, the second sees what the first wrote, and locks are held
-- no longer than a commit takes. REPEATABLE READ writers of one user may get a serialization failure there, as among rows of their own.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE IF NOT EXISTS rowhook.budget (
    user_id       integer       CONSTRAINT budget_pkey PRIMARY KEY,
    monthly_limit numeric(12,2) NOT NULL CONSTRAINT limit_is_positive CHECK (monthly_limit > 0)
);
COMMENT ON TABLE rowhook.budget IS 'FinMind: what a user means to spend in a month at most; budget.exceeded says when it was more';
COMMENT ON COLUMN rowhook.budget.user_id IS 'The user';
COMMENT ON COLUMN rowhook.budget.monthly_limit IS 'A month''s expenses are to be no more; in whatever currency they are';

CREATE TABLE IF NOT EXISTS rowhook.budget_month (
    user_id integer NOT NULL,
    month   date    NOT NULL,
    CONSTRAINT budget_month_pkey PRIMARY KEY (user_id, month)
);
COMMENT ON TABLE rowhook.budget_month IS 'FinMind: months that are over their limit, and were told of';
COMMENT ON COLUMN rowhook.budget_month.user_id IS 'The user';
COMMENT ON COLUMN rowhook.budget_month.month IS 'Its first day';

CREATE TABLE IF NOT EXISTS rowhook.budget_touch (
    xid     xid8    NOT NULL DEFAULT pg_current_xact_id(),
    user_id integer NOT NULL,
    month   date    NOT NULL,
    CONSTRAINT budget_touch_pkey PRIMARY KEY (xid, user_id, month)
);
COMMENT ON TABLE rowhook.budget_touch IS 'FinMind: months whose sum a transaction changes; empty but for transactions that are open';
COMMENT ON COLUMN rowhook.budget_touch.xid IS 'The transaction';
COMMENT ON COLUMN rowhook.budget_touch.user_id IS 'The user';
COMMENT ON COLUMN rowhook.budget_touch.month IS 'Its first day';

CREATE OR REPLACE FUNCTION rowhook.finmind_table(name text) RETURNS regclass LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _name text := format('%I.%I', coalesce(nullif(current_setting('rowhook.recipe_schema', true), ''), 'public'), finmind_table.name);
BEGIN
    IF to_regclass(_name) IS NULL THEN
        PERFORM rowhook.refuse(format('there is no table %s', _name), 'The recipe finmind is for FinMind''s database');
    END IF;
    RETURN to_regclass(_name);
END
$fn$;
COMMENT ON FUNCTION rowhook.finmind_table(text) IS 'One of FinMind''s tables';

-- Capture and rules: what is there already stays as it is, and is mended where it is not whole.
DO $do$
DECLARE
    _wanted record;
BEGIN
    FOR _wanted IN
        SELECT rowhook.finmind_table(w.name) AS source, w.events
          FROM (VALUES ('expenses', '{insert,update,delete}'::text[]), ('bills', '{insert}')) AS w (name, events)
    LOOP
        IF EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = _wanted.source AND c.name = '') THEN
            PERFORM rowhook.capture(_wanted.source);
        ELSE
            PERFORM rowhook.capture(_wanted.source, tenant => 'user_id', events => _wanted.events);
        END IF;
    END LOOP;
    FOR _wanted IN
        SELECT rowhook.finmind_table(w.name) AS source, w.type, w.predicate, w.description FROM (VALUES
            ('bills', 'bill.paid', 'new.next_due_date > old.next_due_date or (new.cadence = ''ONCE'' and old.active and not new.active)',
             'Paying moves a bill on to its next date; one that comes once becomes inactive'),
            ('reminders', 'reminder.fired', 'new.sent and not old.sent', 'A reminder was sent')) AS w (name, type, predicate, description)
    LOOP
        IF EXISTS (SELECT FROM rowhook.rule AS r WHERE r.table_name = _wanted.source AND r.type = _wanted.type) THEN
            PERFORM rowhook.capture(_wanted.source);
        ELSE
            PERFORM rowhook.rule(_wanted.type, on_table => _wanted.source, op => 'update', predicate => _wanted.predicate,
                description => _wanted.description,
                tenant => CASE WHEN NOT EXISTS (SELECT FROM rowhook.capture AS c WHERE c.table_name = _wanted.source AND c.name = '') THEN 'user_id' END);
        END IF;
    END LOOP;
END
$do$;

-- The functions' text holds the table's name: nothing is looked up when they run.
DO $do$
DECLARE
    _expenses regclass := rowhook.finmind_table('expenses');
BEGIN
    EXECUTE format($sql$
CREATE OR REPLACE FUNCTION rowhook.budget_settle(of_user integer, first date, told_from date, months date[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- The caller holds the budget's lock, since a statement before this one: what is seen here is all that was committed.
    WITH total AS (
        SELECT date_trunc('month', e.spent_at::timestamp)::date AS month, sum(e.amount) AS spent FROM %1$s AS e
         WHERE e.user_id = budget_settle.of_user AND e.expense_type <> 'INCOME'
           AND e.spent_at >= budget_settle.first
           AND (budget_settle.months IS NULL OR e.spent_at < budget_settle.months[cardinality(budget_settle.months)] + interval '1 month'
                                              AND date_trunc('month', e.spent_at::timestamp)::date = ANY (budget_settle.months))
         GROUP BY 1
    ), passed AS (
        SELECT t.month, t.spent, b.monthly_limit FROM total AS t JOIN rowhook.budget AS b ON b.user_id = budget_settle.of_user
         WHERE t.spent > b.monthly_limit
    ), back AS (
        DELETE FROM rowhook.budget_month AS m
         WHERE m.user_id = budget_settle.of_user AND m.month >= budget_settle.first AND (budget_settle.months IS NULL OR m.month = ANY (budget_settle.months))
           AND NOT EXISTS (SELECT FROM passed AS o WHERE o.month = m.month)
    ), crossed AS (
        INSERT INTO rowhook.budget_month AS m (user_id, month) SELECT budget_settle.of_user, o.month FROM passed AS o
        ON CONFLICT DO NOTHING RETURNING m.month
    )
    INSERT INTO rowhook.event (op, type, table_name, row_key, tenant, context, data)
    SELECT 'rule', 'budget.exceeded', 'rowhook.budget', json_build_array(budget_settle.of_user::text, to_char(o.month, 'YYYY-MM'))::text, budget_settle.of_user::text, rowhook.session_context(),
           json_build_object('user_id', budget_settle.of_user, 'month', to_char(o.month, 'YYYY-MM'), 'monthly_limit', o.monthly_limit, 'spent', o.spent)
      FROM crossed AS c JOIN passed AS o ON o.month = c.month
     WHERE o.month >= budget_settle.told_from ORDER BY o.month;
    IF FOUND THEN
        PERFORM rowhook.ring();
    END IF;
END
$fn$;
CREATE OR REPLACE FUNCTION rowhook.budget_touched() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- Months whose sum changes, of users who have a budget.
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO rowhook.budget_touch (user_id, month)
        SELECT r.user_id, date_trunc('month', r.spent_at::timestamp)::date
          FROM (SELECT o.user_id, o.spent_at, -o.amount AS amount FROM rowhook_old_rows AS o WHERE o.expense_type <> 'INCOME'
                UNION ALL SELECT n.user_id, n.spent_at, n.amount FROM rowhook_rows AS n WHERE n.expense_type <> 'INCOME') AS r
          JOIN rowhook.budget AS b ON b.user_id = r.user_id
         GROUP BY 1, 2 HAVING sum(r.amount) <> 0 ON CONFLICT DO NOTHING;
    ELSIF TG_OP = 'TRUNCATE' THEN
        INSERT INTO rowhook.budget_touch (user_id, month) SELECT m.user_id, m.month FROM rowhook.budget_month AS m ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO rowhook.budget_touch (user_id, month)
        SELECT r.user_id, date_trunc('month', r.spent_at::timestamp)::date FROM rowhook_rows AS r
          JOIN rowhook.budget AS b ON b.user_id = r.user_id
         WHERE r.expense_type <> 'INCOME' GROUP BY 1, 2 ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$fn$;$sql$, _expenses);
END
$do$;
COMMENT ON FUNCTION rowhook.budget_settle(integer, date, date, date[]) IS 'FinMind: hold a user''s months against the limit, and tell of those that crossed it';
COMMENT ON FUNCTION rowhook.budget_touched() IS 'FinMind, trigger function of expenses: note whose month changes';

CREATE OR REPLACE FUNCTION rowhook.budget_committed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _user   integer;
    _months date[];
BEGIN
    -- The first row that comes settles all of its transaction; locks first, in one order, and the sums in later statements.
    PERFORM FROM rowhook.budget AS b
      WHERE b.user_id IN (SELECT t.user_id FROM rowhook.budget_touch AS t WHERE t.xid = pg_current_xact_id()) ORDER BY b.user_id FOR UPDATE;
    FOR _user, _months IN
        WITH touched AS (DELETE FROM rowhook.budget_touch AS t WHERE t.xid = pg_current_xact_id() RETURNING t.user_id, t.month)
        SELECT t.user_id, array_agg(DISTINCT t.month) FROM touched AS t GROUP BY 1 ORDER BY 1
    LOOP
        PERFORM rowhook.budget_settle(_user, _months[1], '-infinity', _months);
    END LOOP;
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION rowhook.budget_committed() IS 'FinMind, trigger function of budget_touch: as the transaction commits, settle what it changed';

CREATE OR REPLACE FUNCTION rowhook.budget_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    -- A limit that this month has passed already is told of; of months gone by it is only noted.
    IF TG_OP <> 'INSERT' AND (TG_OP = 'DELETE' OR NEW.user_id <> OLD.user_id) THEN
        DELETE FROM rowhook.budget_month AS m WHERE m.user_id = OLD.user_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM rowhook.budget_settle(NEW.user_id, '-infinity', date_trunc('month', localtimestamp)::date, NULL);
    END IF;
    RETURN NULL;
END
$fn$;
COMMENT ON FUNCTION rowhook.budget_changed() IS 'FinMind, trigger function of budget: hold the months against the new limit';

CREATE OR REPLACE FUNCTION rowhook.remove_finmind() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
DECLARE
    _granted record;
BEGIN
    FOR _granted IN
        SELECT t.tgrelid::regclass AS name, p.proowner::regrole AS owner FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
         WHERE t.tgname = '!rowhook_budget_insert'
    LOOP
        IF has_table_privilege(_granted.owner::oid, _granted.name, 'SELECT') THEN
            NULL;  -- by a right that the recipe did not give
        ELSE
            EXECUTE format('REVOKE SELECT (user_id, amount, expense_type, spent_at) ON %s FROM %s', _granted.name, _granted.owner);
        END IF;
    END LOOP;
    PERFORM rowhook.unrule(r.type, r.table_name) FROM rowhook.rule AS r WHERE r.type IN ('bill.paid', 'reminder.fired');
    DROP TABLE rowhook.budget, rowhook.budget_month, rowhook.budget_touch;
    DROP FUNCTION rowhook.budget_touched() CASCADE;  -- and its triggers on expenses
    DROP FUNCTION rowhook.budget_committed(), rowhook.budget_changed(), rowhook.budget_settle(integer, date, date, date[]),
        rowhook.finmind_table(text), rowhook.remove_finmind();
END
$fn$;
COMMENT ON FUNCTION rowhook.remove_finmind() IS 'FinMind: take back all but the captures of expenses and bills';

-- Rights of who owns trigger functions, and the triggers; a trigger that is there is not made again, since that locks the table.
DO $do$
DECLARE
    _expenses regclass := rowhook.finmind_table('expenses');
    _owner    text     := rowhook.capture_owner();
    _trigger  record;
BEGIN
    PERFORM rowhook.give_to_capture_owner(p.oid::regprocedure::text) FROM pg_proc AS p
      WHERE p.pronamespace = 'rowhook'::regnamespace AND p.proname ~ '^budget_(settle|touched|committed|changed)$'
        AND pg_get_userbyid(p.proowner) <> _owner;
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rowhook FROM PUBLIC;
    IF _owner <> current_user THEN
        EXECUTE format('GRANT SELECT, UPDATE ON rowhook.budget TO %I', _owner);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON rowhook.budget_month, rowhook.budget_touch TO %I', _owner);
        IF NOT has_column_privilege(_owner, _expenses, 'spent_at', 'SELECT') THEN
            EXECUTE format('GRANT SELECT (user_id, amount, expense_type, spent_at) ON %s TO %I', _expenses, _owner);
        END IF;
        IF NOT has_schema_privilege(_owner, (SELECT c.relnamespace FROM pg_class AS c WHERE c.oid = _expenses), 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', (SELECT c.relnamespace::regnamespace FROM pg_class AS c WHERE c.oid = _expenses), _owner);
        END IF;
    END IF;
    FOR _trigger IN
        SELECT w.* FROM (VALUES
            (_expenses::text, '!rowhook_budget_insert', 'TRIGGER', 'AFTER INSERT', 'REFERENCING NEW TABLE AS rowhook_rows FOR EACH STATEMENT', 'budget_touched'),
            (_expenses::text, '!rowhook_budget_delete', 'TRIGGER', 'AFTER DELETE', 'REFERENCING OLD TABLE AS rowhook_rows FOR EACH STATEMENT', 'budget_touched'),
            (_expenses::text, '!rowhook_budget_update', 'TRIGGER', 'AFTER UPDATE',
             'REFERENCING OLD TABLE AS rowhook_old_rows NEW TABLE AS rowhook_rows FOR EACH STATEMENT', 'budget_touched'),
            (_expenses::text, '!rowhook_budget_truncate', 'TRIGGER', 'AFTER TRUNCATE', 'FOR EACH STATEMENT', 'budget_touched'),
            ('rowhook.budget_touch', 'budget_committed', 'CONSTRAINT TRIGGER', 'AFTER INSERT', 'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW', 'budget_committed'),
            ('rowhook.budget', 'budget_changed', 'TRIGGER', 'AFTER INSERT OR UPDATE OR DELETE', 'FOR EACH ROW', 'budget_changed'))
            AS w (source, name, kind, moment, how, function_name)
         WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = w.source::regclass AND t.tgname = w.name)
    LOOP
        EXECUTE format('CREATE %s %I %s ON %s %s EXECUTE FUNCTION rowhook.%I()',
                       _trigger.kind, _trigger.name, _trigger.moment, _trigger.source, _trigger.how, _trigger.function_name);
    END LOOP;
END
$do$;
