-- name: list
SELECT r.type, rowhook.table_label(r.table_name) AS "table", r.op, r.predicate, r.description, c.tenant, c.paused, r.set_aside
  FROM rowhook.rule AS r LEFT JOIN rowhook.capture AS c ON c.table_name = r.table_name AND c.name = ''
 WHERE %(table)s::oid IS NULL OR r.table_name = %(table)s::oid::regclass
 ORDER BY 2, r.id

-- name: plan
-- What install would do, and what it would cost; for a transaction that is undone.
SELECT p.result, p.sql,
       (SELECT json_agg(m) FROM rowhook.cost(p.capture) AS m) AS cost
  FROM rowhook.rule_plan(
           %(type)s::text, on_table => %(table)s::oid::regclass, op => %(op)s::text, predicate => %(predicate)s::text,
           description => %(description)s::text, tenant => %(tenant)s::text) AS p

-- name: install
SELECT rowhook.rule(
           %(type)s::text, on_table => %(table)s::oid::regclass, op => %(op)s::text, predicate => %(predicate)s::text,
           description => %(description)s::text, tenant => %(tenant)s::text) AS result

-- name: remove
SELECT rowhook.unrule(%(type)s::text, on_table => %(table)s::oid::regclass) AS result
