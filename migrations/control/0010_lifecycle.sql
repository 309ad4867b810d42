-- The life of a tenant: suspension, deletion with a grace, restore, purge with a receipt (docs/adr/0008).
ALTER TABLE control.tenants
    ADD COLUMN state_reason      text,
    -- Set while it is deleting: when the grace is over, who asked, and what a restore brings back.
    ADD COLUMN purge_at          timestamptz,
    ADD COLUMN delete_asked_at   timestamptz,
    ADD COLUMN delete_asked_by   uuid,
    ADD COLUMN former_status     text,
    ADD COLUMN former_suspension text,
    ADD COLUMN former_reason     text,
    -- From here on there is no way back.
    ADD COLUMN purge_started_at  timestamptz,
    -- The waiting jobs do not follow the tenant's state yet; the worker's sweep brings them there in batches.
    ADD COLUMN is_settling       boolean NOT NULL DEFAULT false,
    ADD COLUMN settings          jsonb   NOT NULL DEFAULT '{}',
    ADD COLUMN custom_fields     jsonb   NOT NULL DEFAULT '{}',
    ADD CONSTRAINT tenants_reason_check CHECK (length(state_reason) <= 500),
    ADD CONSTRAINT tenants_purge_check CHECK (purge_at IS NULL OR status = 'deleting'),
    ADD CONSTRAINT tenants_purge_started_check CHECK (purge_started_at IS NULL OR purge_at IS NOT NULL),
    ADD CONSTRAINT tenants_former_check CHECK ((former_status IS NULL) = (purge_at IS NULL)
        AND former_status IN ('active', 'suspended')
        AND (former_status = 'suspended') = (former_suspension IS NOT NULL)),
    -- Above the limit of the service, which counts the bytes of the request: jsonb writes some numbers at length.
    ADD CONSTRAINT tenants_documents_check CHECK (jsonb_typeof(settings) = 'object'
        AND jsonb_typeof(custom_fields) = 'object'
        AND octet_length(settings::text) + octet_length(custom_fields::text) <= 65536);

CREATE INDEX tenants_settling_idx ON control.tenants (id) WHERE is_settling;
CREATE INDEX tenants_purge_idx ON control.tenants (purge_at) WHERE purge_at IS NOT NULL;

-- A parked job waits for its tenant and costs a claim nothing: it is in no index that a claim reads.
ALTER TABLE control.jobs
    ADD COLUMN is_parked boolean NOT NULL DEFAULT false;

DROP INDEX control.jobs_claim_idx;
CREATE INDEX jobs_claim_idx ON control.jobs (priority DESC, run_at) WHERE state = 'queued' AND NOT is_parked;
CREATE INDEX jobs_waiting_idx ON control.jobs (tenant_id) WHERE state = 'queued';

-- Machines of a tenant that is closed in full are left as they are, until it is resumed, restored or purged.
ALTER TABLE control.vm_work
    ADD COLUMN is_parked boolean NOT NULL DEFAULT false;

DROP INDEX control.vm_work_due_idx;
CREATE INDEX vm_work_due_idx ON control.vm_work (due_at) WHERE due_at IS NOT NULL AND NOT is_parked;

-- Whether the jobs of a tenant in this state wait.
CREATE FUNCTION control.has_parked_jobs(p_status text) RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT p_status IN ('suspended', 'deleting')
$$;

GRANT EXECUTE ON FUNCTION control.has_parked_jobs(text) TO bulkhead_control;

-- Whoever changes a tenant's state: its machines follow in the same transaction, there are never many of them; its
-- jobs, of which there may be a million, are left to the worker's sweep. A claim looks at the state itself meanwhile.
CREATE FUNCTION control.follow_tenant_state() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_is_parked boolean := NEW.suspension IS NOT DISTINCT FROM 'full'
        OR (NEW.status = 'deleting' AND NEW.purge_started_at IS NULL);
BEGIN
    UPDATE control.vm_work SET is_parked = v_is_parked WHERE tenant_id = NEW.id AND is_parked <> v_is_parked;
    IF control.has_parked_jobs(NEW.status) <> control.has_parked_jobs(OLD.status) THEN
        NEW.is_settling := true;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER tenants_state_trigger
    BEFORE UPDATE OF status, suspension, purge_started_at
    ON control.tenants
    FOR EACH ROW
EXECUTE FUNCTION control.follow_tenant_state();

-- Where each step of a purge stands, what it removed, and when it is worth another look.
CREATE TABLE control.purge_steps
(
    tenant_id   uuid        NOT NULL,
    position    smallint    NOT NULL,
    name        text        NOT NULL,
    is_done     boolean     NOT NULL DEFAULT false,
    removed     jsonb       NOT NULL DEFAULT '{}',
    due_at      timestamptz NOT NULL DEFAULT now(),
    failures    integer     NOT NULL DEFAULT 0,
    last_error  text,
    finished_at timestamptz,
    CONSTRAINT purge_steps_pkey PRIMARY KEY (tenant_id, position),
    CONSTRAINT purge_steps_name_key UNIQUE (tenant_id, name),
    CONSTRAINT purge_steps_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE
);

-- What is left of a purged tenant. The signed text says everything; the columns are for finding it.
CREATE TABLE control.purge_receipts
(
    id         uuid        NOT NULL,
    tenant_id  uuid        NOT NULL,
    jws        text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT purge_receipts_pkey PRIMARY KEY (id),
    CONSTRAINT purge_receipts_tenant_key UNIQUE (tenant_id)
);

REVOKE INSERT, UPDATE, DELETE ON control.purge_receipts FROM bulkhead_control;

-- A job is parked from the moment it waits for a closed tenant, whoever writes it. One for a purged tenant is refused:
-- nothing would ever take it away.
CREATE FUNCTION control.park_job() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_status text;
BEGIN
    SELECT t.status INTO v_status FROM control.tenants AS t WHERE t.id = NEW.tenant_id;
    IF v_status IS NULL AND EXISTS (SELECT FROM control.purge_receipts AS r WHERE r.tenant_id = NEW.tenant_id) THEN
        RAISE EXCEPTION 'the tenant is purged' USING ERRCODE = 'BH404';
    END IF;
    NEW.is_parked := coalesce(control.has_parked_jobs(v_status), false);
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_park_trigger
    BEFORE INSERT OR UPDATE OF state
    ON control.jobs
    FOR EACH ROW
    WHEN (NEW.state = 'queued' AND NEW.tenant_id IS NOT NULL)
EXECUTE FUNCTION control.park_job();

-- What settings and custom fields of tenants have to look like; one row, written by operators.
CREATE TABLE control.tenant_schema
(
    is_only       boolean     NOT NULL DEFAULT true,
    settings      jsonb       NOT NULL,
    custom_fields jsonb       NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenant_schema_pkey PRIMARY KEY (is_only),
    CONSTRAINT tenant_schema_only_check CHECK (is_only)
);
