-- An endpoint keeps its tenant.
-- depends: 0011-roles
--
-- Dispatch gives an endpoint its own tenant's events only. What waits for it then, is being sent, or may be replayed years later is
-- that tenant's, so the endpoint can't become another's. It can become the operator's: those get all tenants' events.

CREATE FUNCTION rowhook.keep_tenant() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RH001',
        MESSAGE = format('endpoint %s keeps its tenant (%s): what waits for it and what may be replayed is that one''s', OLD.public_id,
                         coalesce(quote_literal(OLD.tenant), 'none: all of them')),
        HINT = format('Add another endpoint for tenant %L, and remove this one', NEW.tenant);
END
$fn$;
COMMENT ON FUNCTION rowhook.keep_tenant() IS 'Trigger function of rowhook.endpoint: refuse another tenant';
REVOKE EXECUTE ON FUNCTION rowhook.keep_tenant() FROM PUBLIC;

CREATE TRIGGER keep_tenant BEFORE UPDATE OF tenant ON rowhook.endpoint FOR EACH ROW
WHEN (NEW.tenant IS NOT NULL AND NEW.tenant IS DISTINCT FROM OLD.tenant) EXECUTE FUNCTION rowhook.keep_tenant();
