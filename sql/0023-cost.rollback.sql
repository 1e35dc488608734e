-- Recipes and captures go first, while all that this takes is there.
DO $do$
BEGIN
    IF to_regprocedure('rowhook.remove_finmind()') IS NOT NULL THEN
        PERFORM rowhook.remove_finmind();
    END IF;
END
$do$;
SELECT rowhook.uncapture(c.table_name) FROM rowhook.capture AS c;
DROP FUNCTION rowhook.cost(rowhook.capture, integer);
DROP FUNCTION rowhook.timed(text[]);
