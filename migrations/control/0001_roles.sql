-- Cluster-wide roles. Parallel runs against several databases of one cluster may race here, so a loser looks away.
-- bulkhead_control   login of the API and worker for the schema control
-- bulkhead_tenant    login that enters tenants: inherits nothing, owns nothing, reads no tenant table by itself
-- bulkhead_tenants   group of all tenant roles: may call the few definer functions of control, and nothing else
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT roles.name, roles.attributes
        FROM (VALUES ('bulkhead_control', 'LOGIN NOINHERIT'),
                     ('bulkhead_tenant', 'LOGIN NOINHERIT'),
                     ('bulkhead_tenants', 'NOLOGIN NOINHERIT')) AS roles (name, attributes)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.attributes);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$;

-- A tenant role may not leave its transaction-local context through a function call inside a query. Managed services
-- may refuse this to us; the role per tenant still protects then, and only a SELECT injection would gain by it.
DO $$
BEGIN
    REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO bulkhead_control, bulkhead_tenant;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'set_config stays executable by PUBLIC: this server refuses the REVOKE';
END
$$;

DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO bulkhead_control, bulkhead_tenant', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS control;

GRANT USAGE ON SCHEMA control TO bulkhead_control, bulkhead_tenant, bulkhead_tenants;

ALTER DEFAULT PRIVILEGES IN SCHEMA control GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO bulkhead_control;

-- New functions are for nobody until a migration grants them.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
