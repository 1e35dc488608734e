DROP VIEW rowhook.dead_letters;
DROP VIEW rowhook.endpoint_health;
DROP VIEW rowhook.event_trail;
DROP VIEW rowhook.delivery_history;
