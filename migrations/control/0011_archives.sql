-- Exports: archives of tenants that were asked for, and how far each is written. A row goes with its tenant, and the
-- file goes with the row.
CREATE TABLE control.exports
(
    id           uuid        NOT NULL,
    tenant_id    uuid        NOT NULL,
    state        text        NOT NULL DEFAULT 'waiting',
    job_id       uuid        NOT NULL,
    requested_by uuid        NOT NULL,
    tables_done  integer     NOT NULL DEFAULT 0,
    tables_total integer,
    n_rows       bigint      NOT NULL DEFAULT 0,
    n_bytes      bigint      NOT NULL DEFAULT 0,
    -- Of the whole file; names its contents in ETag.
    sha256       bytea,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    expires_at   timestamptz,
    CONSTRAINT exports_pkey PRIMARY KEY (id),
    CONSTRAINT exports_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT exports_state_check CHECK (state IN ('waiting', 'running', 'ready', 'failed')),
    CONSTRAINT exports_finished_check CHECK ((state IN ('ready', 'failed')) = (finished_at IS NOT NULL)
        AND (state = 'ready') = (sha256 IS NOT NULL)
        AND (finished_at IS NULL) = (expires_at IS NULL))
);

-- One at a time for each tenant.
CREATE UNIQUE INDEX exports_live_key ON control.exports (tenant_id) WHERE state IN ('waiting', 'running');
CREATE INDEX exports_tenant_idx ON control.exports (tenant_id, created_at);
CREATE INDEX exports_expiry_idx ON control.exports (expires_at) WHERE expires_at IS NOT NULL;

-- Imports: the tenant that is being made from an archive, and why it was not made. The steps are the tenant's onboarding
-- steps; a failed import leaves no tenant.
CREATE TABLE control.imports
(
    id           uuid        NOT NULL,
    tenant_id    uuid,
    state        text        NOT NULL DEFAULT 'running',
    job_id       uuid        NOT NULL,
    requested_by uuid        NOT NULL,
    members      text        NOT NULL,
    -- The code and the detail of the problem that ended it.
    error_code   text,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CONSTRAINT imports_pkey PRIMARY KEY (id),
    CONSTRAINT imports_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE SET NULL,
    CONSTRAINT imports_state_check CHECK (state IN ('running', 'done', 'failed')),
    CONSTRAINT imports_members_check CHECK (members IN ('none', 'relink')),
    CONSTRAINT imports_finished_check CHECK ((state = 'running') = (finished_at IS NULL)
        AND (state = 'failed') = (error IS NOT NULL))
);

CREATE INDEX imports_tenant_idx ON control.imports (tenant_id);
