-- The index of memberships follows the members of a tenant in the tenant's own transaction. Both functions write rows of
-- the current tenant and no others.

-- Shows the tenant to the person with this leading role, or hides it. False where there is no such person.
CREATE FUNCTION control.set_membership(p_identity uuid, p_role text, p_status text) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    INSERT INTO control.memberships AS m (identity_id, tenant_id, role, status)
    SELECT i.id, control.current_tenant(), p_role, p_status
    FROM control.identities AS i
    WHERE i.id = p_identity
    ON CONFLICT (identity_id, tenant_id) DO UPDATE SET role   = EXCLUDED.role,
                                                       status = EXCLUDED.status;
    RETURN FOUND;
END
$$;

CREATE FUNCTION control.delete_membership(p_identity uuid) RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DELETE
FROM control.memberships AS m
WHERE m.identity_id = p_identity
  AND m.tenant_id = control.current_tenant()
$$;

GRANT EXECUTE ON FUNCTION control.set_membership(uuid, text, text) TO bulkhead_tenants;
GRANT EXECUTE ON FUNCTION control.delete_membership(uuid) TO bulkhead_tenants;
