-- Which cluster holds a tenant's schema (docs/adr/0010). A cluster is a database with this whole schema `control`; the one
-- called home knows all tenants, every other one has a row in control.tenants for those that live there. No row here
-- means home, so that an installation with one database has none.
CREATE TABLE control.placements
(
    tenant_id   uuid     NOT NULL,
    cluster     text     NOT NULL,
    schema_name text     NOT NULL GENERATED ALWAYS AS ('t_' || replace(tenant_id::text, '-', '')) STORED,
    state       text     NOT NULL DEFAULT 'active',
    -- The epoch of the tenant that its cluster was last told; the sweep tells those that are behind.
    epoch       bigint   NOT NULL DEFAULT 0,
    -- Its shard in its cluster; for home that of control.tenants.
    shard       smallint,
    -- The move that is under way.
    move_id     uuid,
    CONSTRAINT placements_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT placements_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT placements_cluster_check CHECK (cluster ~ '^[a-z][a-z0-9_]{0,29}$'),
    CONSTRAINT placements_state_check CHECK (state IN ('active', 'moving', 'frozen')),
    CONSTRAINT placements_move_check CHECK ((state = 'active') = (move_id IS NULL))
);

CREATE INDEX placements_cluster_idx ON control.placements (cluster);

-- One move of a tenant from cluster to cluster. Its state is the step that is next.
CREATE TABLE control.moves
(
    id             uuid        NOT NULL,
    tenant_id      uuid        NOT NULL,
    from_cluster   text        NOT NULL,
    to_cluster     text        NOT NULL,
    state          text        NOT NULL DEFAULT 'preparing',
    -- Why it was or is being aborted, or what it fails at.
    error          text,
    requested_by   text        NOT NULL,
    schema_version bigint,
    n_tables       integer     NOT NULL DEFAULT 0,
    n_rows         bigint      NOT NULL DEFAULT 0,
    n_bytes        bigint      NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    frozen_at      timestamptz,
    -- When writes were possible again, here or there.
    thawed_at      timestamptz,
    finished_at    timestamptz,
    CONSTRAINT moves_pkey PRIMARY KEY (id),
    CONSTRAINT moves_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT moves_clusters_check CHECK (from_cluster <> to_cluster),
    CONSTRAINT moves_state_check CHECK (state IN ('preparing', 'freezing', 'copying', 'verifying', 'switching', 'releasing',
                                                  'erasing', 'done', 'aborting', 'aborted')),
    CONSTRAINT moves_finished_check CHECK ((state IN ('done', 'aborted')) = (finished_at IS NOT NULL))
);

CREATE UNIQUE INDEX moves_open_key ON control.moves (tenant_id) WHERE finished_at IS NULL;
CREATE INDEX moves_tenant_idx ON control.moves (tenant_id, created_at);

-- The move for which the tenant's rows in this database must stay as they are. Every step of a move checks it, so that
-- one that was asleep harms nobody.
ALTER TABLE control.tenants
    ADD COLUMN frozen_by uuid;

GRANT SELECT (frozen_by) ON control.tenants TO bulkhead_tenant;

-- As before, and a tenant that is frozen is read-only for everybody.
CREATE OR REPLACE FUNCTION control.enter_tenant(p_tenant uuid, p_epoch bigint, p_statement_ms integer, p_oldest bigint,
                                                p_newest bigint, p_is_platform boolean) RETURNS void
    LANGUAGE plpgsql
    SECURITY INVOKER
AS
$$
DECLARE
    v_schema     text := 't_' || pg_catalog.replace(p_tenant::text, '-', '');
    v_status     text;
    v_suspension text;
    v_epoch      bigint;
    v_version    bigint;
    v_frozen_by  uuid;
    v_unused     text;
BEGIN
    SELECT t.status, t.suspension, t.epoch, t.schema_version, t.frozen_by
    INTO v_status, v_suspension, v_epoch, v_version, v_frozen_by
    FROM control.tenants AS t
    WHERE t.id = p_tenant;
    IF v_status IS NULL THEN
        RAISE EXCEPTION 'unknown tenant' USING ERRCODE = 'BH404';
    ELSIF v_status <> 'active' AND (v_status = 'pending' OR NOT p_is_platform)
        AND v_suspension IS DISTINCT FROM 'read_only' THEN
        RAISE EXCEPTION 'tenant is %', v_status USING ERRCODE = 'BH403';
    ELSIF v_epoch <> p_epoch THEN
        RAISE EXCEPTION 'stale epoch' USING ERRCODE = 'BH409';
    ELSIF v_version IS NULL OR v_version < p_oldest OR v_version > p_newest THEN
        RAISE EXCEPTION 'schema is at version %', v_version USING ERRCODE = 'BH426';
    END IF;
    IF (v_suspension = 'read_only' AND NOT p_is_platform) OR v_frozen_by IS NOT NULL THEN
        v_unused := pg_catalog.set_config('transaction_read_only', 'on', true);
    END IF;
    v_unused := pg_catalog.set_config('statement_timeout', p_statement_ms::text, true);
    v_unused := pg_catalog.set_config('lock_timeout', '2000', true);
    v_unused := pg_catalog.set_config('idle_in_transaction_session_timeout', '10000', true);
    v_unused := pg_catalog.set_config('search_path', v_schema || ', pg_temp', true);
    v_unused := pg_catalog.set_config('role', v_schema, true);
END
$$;

-- Whether the jobs of a tenant in this state wait.
CREATE FUNCTION control.has_parked_jobs(p_status text, p_frozen_by uuid) RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT p_status IN ('suspended', 'deleting') OR p_frozen_by IS NOT NULL
$$;

GRANT EXECUTE ON FUNCTION control.has_parked_jobs(text, uuid) TO bulkhead_control;

-- As before, and what is frozen waits.
CREATE OR REPLACE FUNCTION control.follow_tenant_state() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_is_parked boolean := NEW.suspension IS NOT DISTINCT FROM 'full'
        OR (NEW.status = 'deleting' AND NEW.purge_started_at IS NULL)
        OR NEW.frozen_by IS NOT NULL;
BEGIN
    UPDATE control.vm_work SET is_parked = v_is_parked WHERE tenant_id = NEW.id AND is_parked <> v_is_parked;
    IF control.has_parked_jobs(NEW.status, NEW.frozen_by) <> control.has_parked_jobs(OLD.status, OLD.frozen_by) THEN
        NEW.is_settling := true;
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER tenants_state_trigger ON control.tenants;
CREATE TRIGGER tenants_state_trigger
    BEFORE UPDATE OF status, suspension, purge_started_at, frozen_by
    ON control.tenants
    FOR EACH ROW
EXECUTE FUNCTION control.follow_tenant_state();

CREATE OR REPLACE FUNCTION control.park_job() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_status    text;
    v_frozen_by uuid;
BEGIN
    SELECT t.status, t.frozen_by INTO v_status, v_frozen_by FROM control.tenants AS t WHERE t.id = NEW.tenant_id;
    IF v_status IS NULL AND EXISTS (SELECT FROM control.purge_receipts AS r WHERE r.tenant_id = NEW.tenant_id) THEN
        RAISE EXCEPTION 'the tenant is purged' USING ERRCODE = 'BH404';
    END IF;
    NEW.is_parked := coalesce(control.has_parked_jobs(v_status, v_frozen_by), false);
    RETURN NEW;
END
$$;
