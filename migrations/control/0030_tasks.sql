-- Jobs as their tenants see them, and what tasks that tenants submit leave behind.
ALTER TABLE control.jobs
    -- How far the work is, committed with it; a later attempt goes on from here.
    ADD COLUMN checkpoint jsonb,
    -- Why it is dead, as a problem code that its tenant may read. The error itself is for operators.
    ADD COLUMN error_code text,
    ADD CONSTRAINT jobs_checkpoint_check CHECK (octet_length(checkpoint::text) <= 65536),
    ADD CONSTRAINT jobs_error_code_check CHECK (error_code ~ '^[a-z_]{1,50}$');

-- The first event of a job is written after the job: before, it has nothing to hang on, and is left behind by a job that is
-- not inserted because a live one has its key.
DROP TRIGGER jobs_added_trigger ON control.jobs;

CREATE FUNCTION control.record_new_job() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    INSERT INTO control.job_events (job_id, tenant_id, seq, type, body, created_at)
    VALUES (NEW.id, NEW.tenant_id, 1, 'state', jsonb_build_object('state', NEW.state, 'attempt', NEW.attempt),
            clock_timestamp());
    UPDATE control.jobs SET n_events = 1 WHERE id = NEW.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_added_trigger
    AFTER INSERT
    ON control.jobs
    FOR EACH ROW
    -- A row that is carried from another cluster brings its events along.
    WHEN (NEW.is_visible AND NEW.n_events = 0)
EXECUTE FUNCTION control.record_new_job();

-- The file that a job came to. It goes with the job.
CREATE TABLE control.job_files
(
    job_id     uuid        NOT NULL,
    tenant_id  uuid        NOT NULL,
    name       text        NOT NULL,
    media_type text        NOT NULL,
    content    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_files_pkey PRIMARY KEY (job_id),
    CONSTRAINT job_files_job_fkey FOREIGN KEY (job_id) REFERENCES control.jobs (id) ON DELETE CASCADE,
    CONSTRAINT job_files_content_check CHECK (octet_length(content) <= 4194304)
);

CREATE INDEX job_files_tenant_idx ON control.job_files (tenant_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON control.job_files TO bulkhead_control;

-- An attempt that begins has not failed yet.
CREATE FUNCTION control.forget_job_error() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    NEW.error_code := NULL;
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_error_trigger
    BEFORE UPDATE OF state
    ON control.jobs
    FOR EACH ROW
    WHEN (OLD.error_code IS NOT NULL AND NEW.state IN ('queued', 'running') AND OLD.state IN ('dead', 'cancelled', 'queued'))
EXECUTE FUNCTION control.forget_job_error();

-- Says why the attempt that holds this token is about to fail; BH410 when none does.
CREATE FUNCTION control.note_job_error(p_job uuid, p_token uuid, p_code text) RETURNS void
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    UPDATE control.jobs SET error_code = p_code WHERE id = p_job AND lease_token = p_token;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lease lost' USING ERRCODE = 'BH410';
    END IF;
END
$$;

GRANT EXECUTE ON FUNCTION control.note_job_error(uuid, uuid, text) TO bulkhead_control;

-- How far the work was when it was last committed; BH410 unless the lease holds.
CREATE FUNCTION control.get_job_checkpoint(p_job uuid, p_token uuid) RETURNS jsonb
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    PERFORM control.hold_lease(p_job, p_token);
    RETURN (SELECT checkpoint FROM control.jobs WHERE id = p_job);
END
$$;

-- Keeps how far the work is, in the transaction of its effects; BH410 unless the lease holds.
CREATE FUNCTION control.set_job_checkpoint(p_job uuid, p_token uuid, p_checkpoint jsonb) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    PERFORM control.hold_lease(p_job, p_token);
    UPDATE control.jobs SET checkpoint = p_checkpoint WHERE id = p_job;
END
$$;

-- Keeps the file that the job came to, in the transaction of its effects; BH410 unless the lease holds.
CREATE FUNCTION control.set_job_file(p_job uuid, p_token uuid, p_name text, p_media_type text, p_content bytea) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    PERFORM control.hold_lease(p_job, p_token);
    INSERT INTO control.job_files (job_id, tenant_id, name, media_type, content)
    SELECT id, tenant_id, p_name, p_media_type, p_content
    FROM control.jobs
    WHERE id = p_job
      AND tenant_id IS NOT NULL
    ON CONFLICT (job_id) DO UPDATE
        SET name = p_name, media_type = p_media_type, content = p_content, created_at = now();
END
$$;

GRANT EXECUTE ON FUNCTION control.get_job_checkpoint(uuid, uuid), control.set_job_checkpoint(uuid, uuid, jsonb),
    control.set_job_file(uuid, uuid, text, text, bytea) TO bulkhead_tenants;

-- The state as the API spells it.
CREATE FUNCTION control.job_word(p_state text, p_is_parked boolean, p_run_at timestamptz) RETURNS text
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT CASE
           WHEN p_state = 'queued' AND p_is_parked THEN 'parked'
           WHEN p_state = 'queued' AND p_run_at > now() THEN 'scheduled'
           WHEN p_state = 'dead' THEN 'failed'
           ELSE p_state END
$$;

GRANT EXECUTE ON FUNCTION control.job_word(text, boolean, timestamptz) TO bulkhead_control;

-- Why a job is dead, as its tenant may read it.
CREATE FUNCTION control.job_error(p_state text, p_error_code text, p_lost_leases smallint, p_deadline_at timestamptz,
                                  p_finished_at timestamptz) RETURNS text
    LANGUAGE sql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT CASE
           WHEN p_state <> 'dead' THEN NULL
           WHEN p_error_code IS NOT NULL THEN p_error_code
           WHEN p_deadline_at <= p_finished_at THEN 'deadline_exceeded'
           WHEN p_lost_leases >= 3 THEN 'worker_lost'
           ELSE 'internal' END
$$;

GRANT EXECUTE ON FUNCTION control.job_error(text, text, smallint, timestamptz, timestamptz) TO bulkhead_control;

-- The visible jobs of the tenant of this transaction, the newest first: those before p_before, or the one that is p_job.
CREATE FUNCTION control.list_own_jobs(p_job uuid, p_state text, p_kind text, p_since timestamptz, p_until timestamptz,
                                      p_before uuid, p_limit integer)
    RETURNS TABLE
            (
                id                  uuid,
                kind                text,
                state               text,
                attempt             smallint,
                max_attempts        smallint,
                progress_done       bigint,
                progress_total      bigint,
                result              jsonb,
                has_file            boolean,
                error_code          text,
                is_cancel_requested boolean,
                created_by          text,
                created_at          timestamptz,
                run_at              timestamptz,
                deadline_at         timestamptz,
                started_at          timestamptz,
                finished_at         timestamptz
            )
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT j.id, j.kind, control.job_word(j.state, j.is_parked, j.run_at), j.attempt, j.max_attempts, j.progress_done,
       j.progress_total, j.result, EXISTS (SELECT FROM control.job_files AS f WHERE f.job_id = j.id),
       control.job_error(j.state, j.error_code, j.lost_leases, j.deadline_at, j.finished_at),
       j.cancel_requested_at IS NOT NULL, j.principal, j.created_at, j.run_at, j.deadline_at, j.started_at, j.finished_at
FROM control.jobs AS j
WHERE j.tenant_id = control.current_tenant()
  AND j.is_visible
  AND (p_job IS NULL OR j.id = p_job)
  AND (p_state IS NULL OR control.job_word(j.state, j.is_parked, j.run_at) = p_state)
  AND (p_kind IS NULL OR j.kind = p_kind)
  AND (p_since IS NULL OR j.created_at >= p_since)
  AND (p_until IS NULL OR j.created_at < p_until)
  AND (p_before IS NULL OR j.id < p_before)
ORDER BY j.id DESC
LIMIT least(p_limit, 100)
$$;

-- What became of a visible job of the tenant of this transaction, from the event after p_after on.
CREATE FUNCTION control.list_own_job_events(p_job uuid, p_after integer, p_limit integer)
    RETURNS TABLE
            (
                seq        integer,
                type       text,
                body       jsonb,
                created_at timestamptz
            )
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT e.seq, e.type, e.body, e.created_at
FROM control.job_events AS e
         JOIN control.jobs AS j ON j.id = e.job_id
WHERE e.job_id = p_job
  AND j.tenant_id = control.current_tenant()
  AND j.is_visible
  AND e.seq > p_after
ORDER BY e.seq
LIMIT least(p_limit, 200)
$$;

-- The file of a visible job of the tenant of this transaction.
CREATE FUNCTION control.get_own_job_file(p_job uuid)
    RETURNS TABLE
            (
                name       text,
                media_type text,
                content    bytea
            )
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT f.name, f.media_type, f.content
FROM control.job_files AS f
         JOIN control.jobs AS j ON j.id = f.job_id
WHERE f.job_id = p_job
  AND j.tenant_id = control.current_tenant()
  AND j.is_visible
$$;

-- The times that a visible job of the tenant of this transaction was submitted for, to the microsecond: a delay counts from
-- another clock.
CREATE FUNCTION control.set_own_job_times(p_job uuid, p_run_at timestamptz, p_deadline_at timestamptz) RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
UPDATE control.jobs
SET run_at      = coalesce(p_run_at, run_at),
    deadline_at = coalesce(p_deadline_at, deadline_at)
WHERE id = p_job
  AND tenant_id = control.current_tenant()
  AND is_visible
  AND state = 'queued'
$$;

-- control.cancel_job of a visible job of the tenant of this transaction.
CREATE FUNCTION control.cancel_own_job(p_job uuid) RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    PERFORM FROM control.jobs WHERE id = p_job AND tenant_id = control.current_tenant() AND is_visible FOR UPDATE;
    RETURN CASE WHEN FOUND THEN control.cancel_job(p_job) END;
END
$$;

-- control.retry_job, which says `taken` where a live job has its key.
CREATE FUNCTION control.try_job_again(p_job uuid) RETURNS text
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    RETURN control.retry_job(p_job);
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'BH409' THEN
        RETURN 'taken';
END
$$;

-- The same of a visible job of the tenant of this transaction. The state it had before is asked for first.
CREATE FUNCTION control.retry_own_job(p_job uuid) RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_state text;
BEGIN
    SELECT state
    INTO v_state
    FROM control.jobs
    WHERE id = p_job AND tenant_id = control.current_tenant() AND is_visible
        FOR UPDATE;
    IF v_state IN ('dead', 'cancelled') THEN
        RETURN control.try_job_again(p_job);
    END IF;
    RETURN CASE WHEN FOUND THEN 'refused' END;
END
$$;

GRANT EXECUTE ON FUNCTION control.try_job_again(uuid) TO bulkhead_control;
GRANT EXECUTE ON FUNCTION control.list_own_jobs(uuid, text, text, timestamptz, timestamptz, uuid, integer),
    control.list_own_job_events(uuid, integer, integer), control.get_own_job_file(uuid), control.cancel_own_job(uuid),
    control.retry_own_job(uuid), control.set_own_job_times(uuid, timestamptz, timestamptz) TO bulkhead_tenants;
