DROP TABLE rowhook.probe;
DROP FUNCTION rowhook.capture_probe();
DROP FUNCTION rowhook.ring();
DROP SEQUENCE rowhook.doorbell;
