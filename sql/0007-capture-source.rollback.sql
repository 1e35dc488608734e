DROP FUNCTION rowhook.column_sql(regclass, text, text);
DROP FUNCTION rowhook.seen_columns(regclass);
DROP FUNCTION rowhook.needs_names(regclass);
DROP FUNCTION rowhook.row_trigger(rowhook.capture);
DROP FUNCTION rowhook.trigger_suffix(rowhook.capture);
DROP FUNCTION rowhook.row_reasons(regclass, text[]);
DROP FUNCTION rowhook.subscribed(regclass);
