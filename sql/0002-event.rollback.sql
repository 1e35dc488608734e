DROP TABLE rowhook.event;
DROP FUNCTION rowhook.mark_horizon();
DROP TABLE rowhook.horizon;
DROP TYPE rowhook.event_op;
