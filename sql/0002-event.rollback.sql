DROP TABLE rowhook.event;
DROP TYPE rowhook.event_op;
