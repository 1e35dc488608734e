DROP TRIGGER keep_tenant ON rowhook.endpoint;
DROP FUNCTION rowhook.keep_tenant();
