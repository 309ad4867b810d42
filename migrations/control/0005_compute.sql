-- Templates every tenant may use. A version is immutable; publishing changes makes a new one.
CREATE TABLE control.vm_templates
(
    id              uuid        NOT NULL,
    name            text        NOT NULL,
    version         integer     NOT NULL DEFAULT 1,
    os              text        NOT NULL,
    description     text        NOT NULL,
    min_cpu         integer     NOT NULL,
    min_memory_gb   integer     NOT NULL,
    min_disk_gb     integer     NOT NULL,
    -- What each driver boots for it: {"simulator": "...", "qemu": "..."}.
    artefacts       jsonb       NOT NULL,
    deprecated_at   timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT vm_templates_pkey PRIMARY KEY (id),
    CONSTRAINT vm_templates_name_key UNIQUE (name, version),
    CONSTRAINT vm_templates_minimum_check CHECK (min_cpu > 0 AND min_memory_gb > 0 AND min_disk_gb > 0),
    CONSTRAINT vm_templates_artefacts_check CHECK (jsonb_typeof(artefacts) = 'object')
);

-- What has to be looked at and when, over all tenants: the truth that jobs only hint at. One row per VM not purged, so
-- that a sweep can tell whose a machine at a provider is even after its deletion.
-- The epoch rises with every lease, so a worker that lost its lease can write nothing and drivers can refuse it.
CREATE TABLE control.vm_work
(
    vm_id             uuid        NOT NULL,
    tenant_id         uuid        NOT NULL,
    -- Known from the plan on.
    provider          text,
    provider_identity text        NOT NULL,
    -- While a lease runs this equals lease_until, unless something made the VM due again meanwhile.
    due_at            timestamptz,
    lease_owner       text,
    lease_epoch       bigint      NOT NULL DEFAULT 0,
    lease_until       timestamptz,
    -- Passes in a row that ended in an error; decides the back-off.
    failures          integer     NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT vm_work_pkey PRIMARY KEY (vm_id),
    CONSTRAINT vm_work_identity_key UNIQUE (provider_identity),
    CONSTRAINT vm_work_lease_check CHECK ((lease_owner IS NULL) = (lease_until IS NULL)),
    -- A schema cannot be dropped while it still has machines.
    CONSTRAINT vm_work_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE RESTRICT
);

CREATE INDEX vm_work_due_idx ON control.vm_work (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX vm_work_tenant_idx ON control.vm_work (tenant_id);

-- Makes the VM due now, in the transaction of the change that asks for it. The tenant comes from the role.
CREATE FUNCTION control.touch_vm_work(p_vm uuid, p_provider_identity text) RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
INSERT INTO control.vm_work AS w (vm_id, tenant_id, provider_identity, due_at)
VALUES (p_vm, control.current_tenant(), p_provider_identity, now())
ON CONFLICT (vm_id) DO UPDATE SET due_at            = now(),
                                  failures          = 0,
                                  provider_identity = EXCLUDED.provider_identity
    WHERE w.tenant_id = EXCLUDED.tenant_id
$$;

-- Raises BH410 unless this epoch still leases the VM of this tenant; else the lease runs anew for p_lease_ms and nobody
-- can take it until this transaction ends. Callers lock their row of vms first, so that locks have one order.
CREATE FUNCTION control.hold_vm_lease(p_vm uuid, p_epoch bigint, p_lease_ms bigint) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    UPDATE control.vm_work
    SET lease_until = now() + p_lease_ms * interval '1 millisecond',
        due_at      = CASE
                          WHEN due_at = lease_until THEN now() + p_lease_ms * interval '1 millisecond'
                          ELSE due_at
            END
    WHERE vm_id = p_vm
      AND tenant_id = control.current_tenant()
      AND lease_epoch = p_epoch
      AND lease_until IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lease lost' USING ERRCODE = 'BH410';
    END IF;
END
$$;

-- Records the provider the plan chose. Only the holder of the lease may.
CREATE FUNCTION control.place_vm_work(p_vm uuid, p_epoch bigint, p_provider text) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    UPDATE control.vm_work
    SET provider = p_provider
    WHERE vm_id = p_vm
      AND tenant_id = control.current_tenant()
      AND lease_epoch = p_epoch
      AND lease_until IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lease lost' USING ERRCODE = 'BH410';
    END IF;
END
$$;

-- The templates as a tenant may see them.
CREATE FUNCTION control.list_vm_templates()
    RETURNS TABLE
            (
                id            uuid,
                name          text,
                version       integer,
                os            text,
                description   text,
                min_cpu       integer,
                min_memory_gb integer,
                min_disk_gb   integer,
                artefacts     jsonb,
                is_deprecated boolean
            )
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT t.id, t.name, t.version, t.os, t.description, t.min_cpu, t.min_memory_gb, t.min_disk_gb, t.artefacts,
       t.deprecated_at IS NOT NULL
FROM control.vm_templates AS t
ORDER BY t.name, t.version
$$;

GRANT EXECUTE ON FUNCTION control.touch_vm_work(uuid, text) TO bulkhead_tenants;
GRANT EXECUTE ON FUNCTION control.hold_vm_lease(uuid, bigint, bigint) TO bulkhead_tenants;
GRANT EXECUTE ON FUNCTION control.place_vm_work(uuid, bigint, text) TO bulkhead_tenants;
GRANT EXECUTE ON FUNCTION control.list_vm_templates() TO bulkhead_tenants;
