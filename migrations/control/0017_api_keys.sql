-- Whether somebody's account is on, for the keys of a tenant's members: a tenant role learns that one bit, and only of
-- people who belong to its tenant. PL/pgSQL for the same reason as is_session_live.
CREATE FUNCTION control.is_account_on(p_identity uuid) RETURNS boolean
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    RETURN EXISTS (SELECT
                   FROM control.memberships AS m
                            JOIN control.identities AS i ON i.id = m.identity_id
                   WHERE m.tenant_id = control.current_tenant()
                     AND m.identity_id = p_identity
                     AND i.status = 'active');
END
$$;

GRANT EXECUTE ON FUNCTION control.is_account_on(uuid) TO bulkhead_tenants;
