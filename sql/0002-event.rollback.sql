DROP TABLE rowhook.event;
DROP SEQUENCE rowhook.present_slot;
DROP FUNCTION rowhook.mark_horizon();
DROP FUNCTION rowhook.mark_horizon_of_deleted();
DROP TABLE rowhook.horizon;
DROP TYPE rowhook.event_op;
