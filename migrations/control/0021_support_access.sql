-- An operator's way into one tenant: for a reason, until a time, and in the tenant's sight. Kept at home with the operators,
-- whichever cluster the tenant lives in. Rows are kept as the record of who was there.
CREATE TABLE control.support_access
(
    id          uuid        NOT NULL,
    tenant_id   uuid        NOT NULL,
    operator_id uuid        NOT NULL,
    reason      text        NOT NULL,
    can_write   boolean     NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    -- The principal who ended it before it expired.
    ended_by    text,
    CONSTRAINT support_access_pkey PRIMARY KEY (id),
    CONSTRAINT support_access_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT support_access_operator_fkey FOREIGN KEY (operator_id) REFERENCES control.operators (identity_id) ON DELETE RESTRICT,
    CONSTRAINT support_access_reason_check CHECK (length(reason) BETWEEN 10 AND 500),
    CONSTRAINT support_access_expires_check
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '8 hours'),
    CONSTRAINT support_access_ended_check CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);

CREATE INDEX support_access_tenant_idx ON control.support_access (tenant_id, created_at DESC);
CREATE INDEX support_access_live_idx ON control.support_access (operator_id, tenant_id) WHERE ended_at IS NULL;

REVOKE DELETE ON control.support_access FROM bulkhead_control;
