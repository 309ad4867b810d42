-- The registry: one row per tenant. The schema and the role are both named t_ + the id without dashes.
CREATE TABLE control.tenants
(
    id             uuid        NOT NULL,
    slug           text        NOT NULL,
    name           text        NOT NULL,
    status         text        NOT NULL DEFAULT 'pending',
    -- Rises whenever the place or the state of the tenant changes; a router with an older one is sent back.
    epoch          bigint      NOT NULL DEFAULT 1,
    schema_version bigint,
    created_by     uuid,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    activated_at   timestamptz,
    -- Under an Idempotency-Key the founder gets the same tenant for the same request.
    request_key    text,
    request_hash   bytea,
    job_id         uuid,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_slug_key UNIQUE (slug),
    CONSTRAINT tenants_request_key UNIQUE (created_by, request_key),
    CONSTRAINT tenants_slug_check CHECK (slug ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$' AND length(slug) BETWEEN 2 AND 63),
    CONSTRAINT tenants_name_check CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT tenants_status_check CHECK (status IN ('pending', 'active', 'suspended', 'deleting'))
);

-- Where onboarding stands. A step commits together with its own effect, so a row says done exactly if it is done.
CREATE TABLE control.onboarding_steps
(
    tenant_id   uuid        NOT NULL,
    position    smallint    NOT NULL,
    name        text        NOT NULL,
    state       text        NOT NULL DEFAULT 'pending',
    attempts    integer     NOT NULL DEFAULT 0,
    started_at  timestamptz,
    finished_at timestamptz,
    last_error  text,
    CONSTRAINT onboarding_steps_pkey PRIMARY KEY (tenant_id, position),
    CONSTRAINT onboarding_steps_name_key UNIQUE (tenant_id, name),
    CONSTRAINT onboarding_steps_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT onboarding_steps_state_check CHECK (state IN ('pending', 'running', 'done', 'failed'))
);

-- Refuses with a class BH error unless the tenant is active and the router's epoch is current; gives the schema name.
--   BH404 unknown tenant   BH403 tenant not active   BH409 stale epoch
CREATE FUNCTION control.check_tenant(p_tenant uuid, p_epoch bigint) RETURNS text
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_status text;
    v_epoch  bigint;
BEGIN
    SELECT t.status, t.epoch INTO v_status, v_epoch FROM control.tenants AS t WHERE t.id = p_tenant;
    IF v_status = 'active' AND v_epoch = p_epoch THEN
        RETURN 't_' || replace(p_tenant::text, '-', '');
    ELSIF v_status IS NULL THEN
        RAISE EXCEPTION 'unknown tenant' USING ERRCODE = 'BH404';
    ELSIF v_status <> 'active' THEN
        RAISE EXCEPTION 'tenant is %', v_status USING ERRCODE = 'BH403';
    END IF;
    RAISE EXCEPTION 'stale epoch' USING ERRCODE = 'BH409';
END
$$;

-- Enters a tenant for the rest of the transaction: timeouts, search_path, and the tenant's own role last, because that
-- role may no longer call set_config. Everything is local, so the end of the transaction undoes it.
CREATE FUNCTION control.enter_tenant(p_tenant uuid, p_epoch bigint, p_statement_ms integer) RETURNS void
    LANGUAGE plpgsql
    SECURITY INVOKER
AS
$$
DECLARE
    v_schema text;
    v_unused text;
BEGIN
    v_schema := control.check_tenant(p_tenant, p_epoch);
    v_unused := pg_catalog.set_config('statement_timeout', p_statement_ms::text, true);
    v_unused := pg_catalog.set_config('lock_timeout', '2000', true);
    v_unused := pg_catalog.set_config('idle_in_transaction_session_timeout', '10000', true);
    v_unused := pg_catalog.set_config('search_path', v_schema || ', pg_temp', true);
    v_unused := pg_catalog.set_config('role', v_schema, true);
END
$$;

-- The tenant whose role this transaction has taken; an error outside a tenant. In a definer function current_user is
-- the owner, so the answer comes from the setting that only enter_tenant can make.
CREATE FUNCTION control.current_tenant() RETURNS uuid
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT substr(current_setting('role'), 3)::uuid
$$;

GRANT EXECUTE ON FUNCTION control.check_tenant(uuid, bigint) TO bulkhead_tenant;
GRANT EXECUTE ON FUNCTION control.enter_tenant(uuid, bigint, integer) TO bulkhead_tenant;
GRANT EXECUTE ON FUNCTION control.current_tenant() TO bulkhead_tenants;
