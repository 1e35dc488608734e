DROP FUNCTION rowhook.grant_past();
DROP FUNCTION rowhook.deliver_past(bigint, timestamptz, bigint, bigint, integer);
DROP FUNCTION rowhook.backfill(regclass, text, text, text);
DROP FUNCTION rowhook.backfill_chunk(bigint, integer);
DROP FUNCTION rowhook.backfill_page_sql(rowhook.capture, text, text);
DROP FUNCTION rowhook.begin_backfill(regclass, text, text, text);
DROP FUNCTION rowhook.writers_have_ended(interval);
DROP TABLE rowhook.backfill;
