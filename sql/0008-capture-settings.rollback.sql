DROP FUNCTION rowhook.settings_sql(rowhook.capture);
