-- What a table is like, as far as its capture has to know: what makes row triggers necessary, and what only names of columns can say.
-- depends: 0007-capture

CREATE FUNCTION rowhook.subscribed(source regclass) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Publications name partitions or their root, whichever the publisher chose.
    SELECT EXISTS (SELECT FROM pg_subscription_rel AS s
                    WHERE s.srrelid = subscribed.source
                       OR s.srrelid IN (SELECT t.relid FROM pg_partition_tree(subscribed.source) AS t)
                       OR s.srrelid IN (SELECT a.relid FROM pg_partition_ancestors(subscribed.source) AS a))
$fn$;
COMMENT ON FUNCTION rowhook.subscribed(regclass) IS 'Whether a subscription writes to a table: that fires row triggers only, and of those the ones that fire always';

CREATE FUNCTION rowhook.row_reasons(source regclass, key text[]) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Rows without a key can't be paired; foreign tables have no transition tables; a write through the parent of a partition or of
    -- an inheriting table fires none of its statement triggers, and those of the parent would tell of rows that are not its own; a
    -- user's own AFTER ROW trigger that writes the same row would make "updated" precede "created".
    SELECT array_remove(ARRAY[
        CASE WHEN cardinality(row_reasons.key) = 0 THEN 'has no key' END,
        CASE WHEN c.relkind = 'p' THEN 'is partitioned' END,
        CASE WHEN c.relkind = 'f' THEN 'is a foreign table' END,
        CASE WHEN c.relispartition THEN 'is a partition'
             WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) THEN 'inherits from another table' END,
        CASE WHEN c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid) THEN 'has tables that inherit from it' END,
        (SELECT format('has an AFTER ROW trigger of its own (%s)', min(t.tgname)) FROM pg_trigger AS t
          WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
            AND t.tgtype & 1 = 1 AND t.tgtype & 66 = 0 AND t.tgtype & 28 <> 0 AND t.tgname !~ '^!rowhook_row' HAVING count(*) > 0),
        CASE WHEN rowhook.subscribed(c.oid) THEN 'is written to by a subscription' END], NULL)
      FROM pg_class AS c WHERE c.oid = row_reasons.source
$fn$;
COMMENT ON FUNCTION rowhook.row_reasons(regclass, text[]) IS 'Why a table can only be captured row by row: what "it" is or has; none: statement triggers can work';

CREATE FUNCTION rowhook.trigger_suffix(c rowhook.capture) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- A name begins with a letter, a capture's id with a digit.
    SELECT CASE (c).name WHEN '' THEN '' ELSE '_' || (c).name END
$fn$;
COMMENT ON FUNCTION rowhook.trigger_suffix(rowhook.capture) IS 'By which the triggers of a table''s captures differ';

CREATE FUNCTION rowhook.row_trigger(c rowhook.capture) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Partitions get the trigger of their table, also when they are attached: not if they had one of that name themselves.
    SELECT '!rowhook_row' || CASE WHEN EXISTS (SELECT FROM pg_class AS r WHERE r.oid = (c).table_name AND r.relkind = 'p')
                                  THEN '_' || (c).id ELSE rowhook.trigger_suffix(c) END
$fn$;
COMMENT ON FUNCTION rowhook.row_trigger(rowhook.capture) IS 'Name of a capture''s row trigger';

CREATE FUNCTION rowhook.needs_names(source regclass) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- Triggers don't see what a virtual generated column (from Postgres 18 on) is when it is read; and they see a row of a partition
    -- as that has its columns in order.
    SELECT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = needs_names.source AND a.attgenerated = 'v' AND NOT a.attisdropped)
        OR EXISTS (SELECT FROM pg_partition_tree(needs_names.source) AS t
                    WHERE t.isleaf AND t.relid <> needs_names.source AND rowhook.columns_of(t.relid) <> rowhook.columns_of(needs_names.source))
$fn$;
COMMENT ON FUNCTION rowhook.needs_names(regclass) IS 'Whether the whole row, as a trigger sees it, is another than the table''s';

CREATE FUNCTION rowhook.seen_columns(source regclass) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    SELECT CASE WHEN bool_or(a.attgenerated = 'v') THEN coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attgenerated <> 'v'), '')
                ELSE '*' END
      FROM pg_attribute AS a WHERE a.attrelid = seen_columns.source AND a.attnum > 0 AND NOT a.attisdropped
$fn$;
COMMENT ON FUNCTION rowhook.seen_columns(regclass) IS 'The columns that a trigger sees, as SELECT names them: all but virtual ones';

CREATE FUNCTION rowhook.column_sql(source regclass, row_name text, col text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $fn$
    -- The expression of a virtual column calls built-in functions only: Postgres refuses others. Its own casts don't show in it.
    SELECT coalesce((SELECT format('(SELECT (%s)::%s FROM (SELECT %s.*) AS rowhook_virtual)', pg_get_expr(d.adbin, d.adrelid),
                                   format_type(a.atttypid, a.atttypmod), column_sql.row_name)
                       FROM pg_attribute AS a JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                      WHERE a.attrelid = column_sql.source AND a.attname = column_sql.col AND a.attgenerated = 'v'),
                    format('%s.%I', column_sql.row_name, column_sql.col))
$fn$;
COMMENT ON FUNCTION rowhook.column_sql(regclass, text, text) IS 'SQL expression of a column''s value as it is read';
