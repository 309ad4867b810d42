-- What waits for the worker that seals the tenants' audit logs (docs/adr/0015): an event of control, on its way into the log
-- of its tenant, or without an event the word that the tenant has rows that are not sealed. Writers only ever add rows, so
-- none waits for another. No foreign key: a writer must not wait for who changes the tenant.
CREATE TABLE control.audit_outbox
(
    id        uuid NOT NULL,
    tenant_id uuid NOT NULL,
    event     jsonb,
    CONSTRAINT audit_outbox_pkey PRIMARY KEY (id)
);

CREATE INDEX audit_outbox_tenant_idx ON control.audit_outbox (tenant_id);

CREATE FUNCTION control.await_sealing() RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
INSERT INTO control.audit_outbox (id, tenant_id)
VALUES (gen_random_uuid(), control.current_tenant())
$$;

GRANT EXECUTE ON FUNCTION control.await_sealing() TO bulkhead_tenants;

-- The end of each tenant's chain, its beginning where retention removed rows, and what the newest checkpoint says.
CREATE TABLE control.audit_heads
(
    tenant_id       uuid   NOT NULL,
    seq             bigint NOT NULL DEFAULT 0,
    hash            bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    -- The last row that was removed.
    base_seq        bigint NOT NULL DEFAULT 0,
    base_hash       bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    -- When the oldest row that is left happened, or earlier.
    oldest_at       timestamptz,
    checkpoint_seq  bigint NOT NULL DEFAULT 0,
    checkpointed_at timestamptz,
    CONSTRAINT audit_heads_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT audit_heads_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT audit_heads_order_check CHECK (base_seq <= seq AND length(hash) = 32 AND length(base_hash) = 32)
);

CREATE INDEX audit_heads_checkpoint_idx ON control.audit_heads (tenant_id) WHERE checkpoint_seq < seq;

REVOKE INSERT, UPDATE, DELETE ON control.audit_heads FROM bulkhead_control;
