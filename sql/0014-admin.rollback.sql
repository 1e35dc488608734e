DROP INDEX rowhook.endpoint_of_tenant;
DROP TABLE rowhook.idempotency;
DROP TABLE rowhook.admin_log;
