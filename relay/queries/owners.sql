-- name: of_functions
-- To whom the trigger functions belong, and what these lack of what the functions need. Anybody may ask.
SELECT o.owner, o.is_superuser, o.functions,
       array_remove(ARRAY[
           CASE WHEN NOT pg_catalog.has_schema_privilege(o.owner, 'rowhook', 'USAGE') THEN 'USAGE on schema rowhook' END,
           CASE WHEN NOT pg_catalog.has_table_privilege(o.owner, 'rowhook.event', 'INSERT') THEN 'INSERT on rowhook.event' END,
           CASE WHEN NOT pg_catalog.has_table_privilege(o.owner, 'rowhook.capture_failure', 'INSERT') THEN 'INSERT on rowhook.capture_failure' END,
           CASE WHEN NOT pg_catalog.has_sequence_privilege(o.owner, 'rowhook.doorbell', 'SELECT') THEN 'SELECT on rowhook.doorbell' END,
           CASE WHEN NOT pg_catalog.has_function_privilege(o.owner, 'rowhook.ring()', 'EXECUTE') THEN 'EXECUTE on rowhook.ring()' END,
           CASE WHEN NOT pg_catalog.has_function_privilege(o.owner, 'rowhook.changed(json, json)', 'EXECUTE')
                THEN 'EXECUTE on rowhook.changed(json, json)' END], NULL) AS lacks
  FROM (SELECT r.rolname AS owner, r.rolsuper AS is_superuser, pg_catalog.count(*) AS functions
          FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_roles AS r ON r.oid = p.proowner
          JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname = 'rowhook' AND p.prosecdef AND p.prorettype <> 'event_trigger'::pg_catalog.regtype GROUP BY 1, 2) AS o ORDER BY 1

-- name: set_up
SELECT rowhook.set_up_roles()
