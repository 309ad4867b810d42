-- What a tenant may use. One plan stands for all until tenants choose between several.
CREATE TABLE control.plans
(
    id              text     NOT NULL,
    -- The most jobs of one tenant that run at a time, over all workers.
    job_concurrency smallint NOT NULL,
    -- How many jobs of one tenant a worker starts when it is the tenant's turn.
    job_weight      smallint NOT NULL,
    CONSTRAINT plans_pkey PRIMARY KEY (id),
    CONSTRAINT plans_id_check CHECK (id ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT plans_job_concurrency_check CHECK (job_concurrency BETWEEN 1 AND 1000),
    CONSTRAINT plans_job_weight_check CHECK (job_weight BETWEEN 1 AND 100)
);

INSERT INTO control.plans (id, job_concurrency, job_weight)
VALUES ('standard', 4, 1);

ALTER TABLE control.tenants
    ADD COLUMN plan text NOT NULL DEFAULT 'standard',
    ADD CONSTRAINT tenants_plan_fkey FOREIGN KEY (plan) REFERENCES control.plans (id);

GRANT SELECT ON control.plans TO bulkhead_control;

ALTER TABLE control.jobs
    -- Its time has come; what waits for its time is in no index that a claim reads.
    ADD COLUMN is_due              boolean NOT NULL DEFAULT true,
    -- The tenant sees it, with its events, progress and result.
    ADD COLUMN is_visible          boolean NOT NULL DEFAULT false,
    -- It is of no use after this.
    ADD COLUMN deadline_at         timestamptz,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN progress_done       bigint,
    ADD COLUMN progress_total      bigint,
    ADD COLUMN n_events            integer NOT NULL DEFAULT 0,
    ADD COLUMN result              jsonb,
    DROP CONSTRAINT jobs_state_check,
    DROP CONSTRAINT jobs_finished_check,
    ADD CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'done', 'dead', 'cancelled')),
    ADD CONSTRAINT jobs_finished_check CHECK ((state IN ('done', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
    ADD CONSTRAINT jobs_visible_check CHECK (tenant_id IS NOT NULL OR NOT is_visible),
    ADD CONSTRAINT jobs_progress_check CHECK (progress_done >= 0 AND progress_total >= 0),
    ADD CONSTRAINT jobs_result_check CHECK (octet_length(result::text) <= 65536);

-- A lane is a tenant; the platform's own stands after all of them.
DROP INDEX control.jobs_claim_idx;
CREATE INDEX jobs_claim_idx ON control.jobs (coalesce(tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), priority DESC, run_at)
    WHERE state = 'queued' AND is_due AND NOT is_parked;
CREATE INDEX jobs_delayed_idx ON control.jobs (run_at) WHERE state = 'queued' AND NOT is_due AND NOT is_parked;
CREATE INDEX jobs_running_idx ON control.jobs (tenant_id) WHERE state = 'running';
CREATE INDEX jobs_deadline_idx ON control.jobs (deadline_at) WHERE state = 'queued' AND deadline_at IS NOT NULL;
CREATE INDEX jobs_visible_idx ON control.jobs (tenant_id, id) WHERE is_visible;
CREATE INDEX jobs_dead_idx ON control.jobs (finished_at) WHERE state = 'dead';

-- What became of a job that its tenant sees, and what its handler had to say, in order.
CREATE TABLE control.job_events
(
    job_id     uuid        NOT NULL,
    tenant_id  uuid        NOT NULL,
    -- Counts from 1 within the job, without a gap.
    seq        integer     NOT NULL,
    type       text        NOT NULL,
    body       jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_events_pkey PRIMARY KEY (job_id, seq),
    CONSTRAINT job_events_job_fkey FOREIGN KEY (job_id) REFERENCES control.jobs (id) ON DELETE CASCADE,
    CONSTRAINT job_events_type_check CHECK (type IN ('state', 'log'))
);

CREATE INDEX job_events_tenant_idx ON control.job_events (tenant_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON control.job_events TO bulkhead_control;

CREATE FUNCTION control.record_job_state() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    NEW.n_events := NEW.n_events + 1;
    INSERT INTO control.job_events (job_id, tenant_id, seq, type, body, created_at)
    VALUES (NEW.id, NEW.tenant_id, NEW.n_events, 'state', jsonb_build_object('state', NEW.state, 'attempt', NEW.attempt),
            clock_timestamp());
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_added_trigger
    BEFORE INSERT
    ON control.jobs
    FOR EACH ROW
    -- A row that is carried from another cluster brings its events along.
    WHEN (NEW.is_visible AND NEW.n_events = 0)
EXECUTE FUNCTION control.record_job_state();

CREATE TRIGGER jobs_state_trigger
    BEFORE UPDATE OF state
    ON control.jobs
    FOR EACH ROW
    WHEN (NEW.is_visible AND NEW.state <> OLD.state)
EXECUTE FUNCTION control.record_job_state();

DROP FUNCTION control.enqueue_job(uuid, text, text, jsonb, smallint, smallint, bigint, text, text, text, text);
DROP FUNCTION control.insert_job(uuid, uuid, text, text, jsonb, smallint, smallint, bigint, text, text, text, text);

-- Writes a job for a tenant, or for the platform where the tenant is NULL. Gives NULL when a live job already has the
-- key. The notification leaves with the commit.
CREATE FUNCTION control.insert_job(p_tenant uuid, p_id uuid, p_kind text, p_queue text, p_payload jsonb,
                                   p_priority smallint, p_max_attempts smallint, p_delay_ms bigint,
                                   p_deadline_ms bigint, p_is_visible boolean, p_unique_key text, p_principal text,
                                   p_request_id text, p_traceparent text) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, priority, max_attempts, run_at, is_due, deadline_at,
                              is_visible, unique_key, principal, request_id, traceparent)
    VALUES (p_id, p_kind, p_queue, p_tenant, p_payload, p_priority, p_max_attempts,
            now() + p_delay_ms * interval '1 millisecond', p_delay_ms = 0,
            now() + p_deadline_ms * interval '1 millisecond', p_is_visible AND p_tenant IS NOT NULL,
            coalesce(p_tenant::text, 'platform') || ':' || p_unique_key, p_principal, p_request_id, p_traceparent)
    ON CONFLICT (kind, unique_key) WHERE state IN ('queued', 'running') AND unique_key IS NOT NULL DO NOTHING
    RETURNING id INTO v_id;
    -- A delayed job is found by polling; a worker woken now would find nothing.
    IF v_id IS NOT NULL AND p_delay_ms = 0 THEN
        PERFORM pg_notify('bulkhead_jobs', '');
    END IF;
    RETURN v_id;
END
$$;

-- Enqueues for the tenant of this transaction and no other: the tenant comes from the role, never from an argument.
CREATE FUNCTION control.enqueue_job(p_id uuid, p_kind text, p_queue text, p_payload jsonb, p_priority smallint,
                                    p_max_attempts smallint, p_delay_ms bigint, p_deadline_ms bigint,
                                    p_is_visible boolean, p_unique_key text, p_principal text, p_request_id text,
                                    p_traceparent text) RETURNS uuid
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT control.insert_job(control.current_tenant(), p_id, p_kind, p_queue, p_payload, p_priority, p_max_attempts,
                          p_delay_ms, p_deadline_ms, p_is_visible, p_unique_key, p_principal, p_request_id,
                          p_traceparent)
$$;

GRANT EXECUTE ON FUNCTION control.insert_job(uuid, uuid, text, text, jsonb, smallint, smallint, bigint, bigint, boolean, text, text, text, text)
    TO bulkhead_control;
GRANT EXECUTE ON FUNCTION control.enqueue_job(uuid, text, text, jsonb, smallint, smallint, bigint, bigint, boolean, text, text, text, text)
    TO bulkhead_tenants;

-- Leases up to p_limit due jobs of these kinds: a tenant after the other, in a circle, each in its turn as many as its plan
-- weighs and as may run beside those that run already. The circle goes on with p_after, who got p_taken jobs of its turn
-- already. While places are left the circle is gone round again; who is alone in it then gets them all. The cost is that of
-- the tenants visited, however many jobs and tenants wait.
--
-- The lock on a tenant makes its limit exact: nobody else counts and starts its jobs until this transaction ends. A tenant
-- that somebody else has locked is waited for only by whoever holds no lock himself, so that nobody waits in a ring.
--
-- Plans are made once and follow the index, also while the statistics still tell of an empty table.
CREATE FUNCTION control.claim_jobs(p_kinds text[], p_worker text, p_lease_ms bigint, p_after uuid, p_taken integer,
                                   p_limit integer)
    RETURNS TABLE
            (
                id              uuid,
                kind            text,
                queue           text,
                wait_ms         double precision,
                -- Until its deadline; NULL without one.
                left_ms         double precision,
                tenant_id       uuid,
                is_tenant_known boolean,
                payload         jsonb,
                attempt         smallint,
                max_attempts    smallint,
                lost_leases     smallint,
                lease_token     uuid,
                is_visible      boolean,
                principal       text,
                request_id      text,
                traceparent     text
            )
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_sort = off
AS
$$
#variable_conflict use_column
DECLARE
    c_nil      CONSTANT uuid    := '00000000-0000-0000-0000-000000000000';
    c_platform CONSTANT uuid    := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_lane              uuid    := p_after;
    v_taken             integer := p_taken;
    v_left              integer := p_limit;
    -- How many turns at once: more than one for who is alone.
    v_share             integer := 1;
    -- Whether a whole circle, or its first part, came to nothing.
    v_is_first          boolean := true;
    v_n_lanes           integer := 0;
    v_holds             boolean := false;
    v_limit             integer;
    v_weight            integer;
    v_n                 integer;
BEGIN
    WHILE v_left > 0
        LOOP
            -- A turn that the last claim left off goes on.
            IF v_taken = 0 THEN
                SELECT coalesce(w.tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                INTO v_lane
                FROM control.jobs AS w
                WHERE w.state = 'queued'
                  AND w.is_due
                  AND NOT w.is_parked
                  AND coalesce(w.tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) > v_lane
                ORDER BY coalesce(w.tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                LIMIT 1;
                IF NOT FOUND THEN
                    EXIT WHEN v_n_lanes = 0 AND NOT v_is_first;
                    v_share := CASE WHEN v_n_lanes = 1 AND NOT v_is_first THEN p_limit ELSE 1 END;
                    v_is_first := false;
                    v_n_lanes := 0;
                    v_lane := c_nil;
                    CONTINUE;
                END IF;
            END IF;

            v_limit := NULL;
            v_weight := 1;
            IF v_lane <> c_platform THEN
                SELECT CASE
                           -- Closed a moment ago; its jobs are not parked yet.
                           WHEN control.has_parked_jobs(t.status, t.frozen_by) THEN 0
                           ELSE p.job_concurrency END,
                       p.job_weight
                INTO v_limit, v_weight
                FROM control.tenants AS t
                         JOIN control.plans AS p ON p.id = t.plan
                WHERE t.id = v_lane;
            END IF;
            -- Without a limit it is the platform, or a tenant that is gone, whose jobs only come to be dead.
            v_n := least(v_left, v_share * coalesce(v_weight, 1) - v_taken);
            v_taken := 0;
            CONTINUE WHEN v_n <= 0 OR v_limit = 0;
            IF v_limit IS NOT NULL THEN
                IF v_holds THEN
                    CONTINUE WHEN NOT pg_try_advisory_xact_lock(hashtextextended(v_lane::text, 2701));
                ELSE
                    PERFORM pg_advisory_xact_lock(hashtextextended(v_lane::text, 2701));
                    v_holds := true;
                END IF;
                v_n := least(v_n, v_limit - (SELECT count(*)
                                             FROM (SELECT
                                                   FROM control.jobs AS r
                                                   WHERE r.tenant_id = v_lane
                                                     AND r.state = 'running'
                                                   LIMIT v_limit) AS running));
                CONTINUE WHEN v_n <= 0;
            END IF;

            -- Materialized, since a join that ran the choice again would lease more than were chosen.
            RETURN QUERY
                WITH next AS MATERIALIZED (SELECT w.id
                                           FROM control.jobs AS w
                                           WHERE w.state = 'queued'
                                             AND w.is_due
                                             AND NOT w.is_parked
                                             AND coalesce(w.tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) = v_lane
                                             AND w.kind = ANY (p_kinds)
                                             AND w.run_at <= now()
                                             AND (w.deadline_at IS NULL OR w.deadline_at > now())
                                           ORDER BY w.priority DESC, w.run_at
                                           LIMIT v_n FOR UPDATE SKIP LOCKED)
                UPDATE control.jobs AS j
                SET state       = 'running',
                    attempt     = j.attempt + 1,
                    lease_token = gen_random_uuid(),
                    lease_until = now() + p_lease_ms * interval '1 millisecond',
                    worker      = p_worker,
                    started_at  = now()
                FROM next
                WHERE j.id = next.id
                RETURNING j.id, j.kind, j.queue,
                    (extract(EPOCH FROM now() - j.run_at) * 1000)::double precision,
                    (extract(EPOCH FROM j.deadline_at - now()) * 1000)::double precision,
                    j.tenant_id,
                    -- Looked up above, with what was committed before the job was seen.
                    v_lane = c_platform OR v_limit IS NOT NULL,
                    j.payload, j.attempt, j.max_attempts, j.lost_leases, j.lease_token, j.is_visible, j.principal,
                    j.request_id, j.traceparent;
            GET DIAGNOSTICS v_n = ROW_COUNT;
            v_left := v_left - v_n;
            v_n_lanes := v_n_lanes + (v_n > 0)::integer;
        END LOOP;
    IF v_left < p_limit THEN
        -- A claim that a crash takes back is a lease of which the table knows nothing: whoever has it can write nothing.
        SET LOCAL synchronous_commit = off;
    END IF;
END
$$;

GRANT EXECUTE ON FUNCTION control.claim_jobs(text[], text, bigint, uuid, integer, integer) TO bulkhead_control;

-- Ends a waiting job, or asks the worker of a running one to end it. Gives the state it is in now, NULL for a job that
-- does not exist; one that has ended already stays as it is.
CREATE FUNCTION control.cancel_job(p_job uuid) RETURNS text
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_state text;
BEGIN
    SELECT state INTO v_state FROM control.jobs WHERE id = p_job FOR UPDATE;
    IF v_state = 'queued' THEN
        UPDATE control.jobs
        SET state = 'cancelled', cancel_requested_at = now(), finished_at = now()
        WHERE id = p_job;
        RETURN 'cancelled';
    END IF;
    IF v_state = 'running' THEN
        UPDATE control.jobs SET cancel_requested_at = coalesce(cancel_requested_at, now()) WHERE id = p_job;
        PERFORM pg_notify('bulkhead_jobs', 'cancel');
    END IF;
    RETURN v_state;
END
$$;

-- Gives a job that ended without success all its attempts again. Gives the state it is in now, NULL for a job that does
-- not exist; violates jobs_unique_key where a live job has its key.
CREATE FUNCTION control.retry_job(p_job uuid) RETURNS text
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_state text;
BEGIN
    SELECT state INTO v_state FROM control.jobs WHERE id = p_job FOR UPDATE;
    IF v_state IN ('dead', 'cancelled') THEN
        UPDATE control.jobs
        SET state = 'queued', attempt = 0, lost_leases = 0, run_at = now(), is_due = true, finished_at = NULL,
            cancel_requested_at = NULL, deadline_at = NULL, progress_done = NULL, progress_total = NULL, result = NULL
        WHERE id = p_job;
        PERFORM pg_notify('bulkhead_jobs', '');
        RETURN 'queued';
    END IF;
    RETURN v_state;
END
$$;

GRANT EXECUTE ON FUNCTION control.cancel_job(uuid), control.retry_job(uuid) TO bulkhead_control;

-- Tells how far the attempt is that holds this token; BH410 when none does.
CREATE FUNCTION control.note_progress(p_job uuid, p_token uuid, p_done bigint, p_total bigint) RETURNS void
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    UPDATE control.jobs SET progress_done = p_done, progress_total = p_total WHERE id = p_job AND lease_token = p_token;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lease lost' USING ERRCODE = 'BH410';
    END IF;
END
$$;

-- Adds a line to the log of the job whose attempt holds this token; BH410 when none does. Past p_max events lines are
-- dropped, and the last one kept says so.
CREATE FUNCTION control.log_job(p_job uuid, p_token uuid, p_level text, p_message text, p_max integer) RETURNS void
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_tenant uuid;
    v_seq    integer;
BEGIN
    UPDATE control.jobs
    SET n_events = least(n_events + 1, p_max + 1)
    WHERE id = p_job
      AND lease_token = p_token
      AND is_visible
      AND n_events <= p_max
    RETURNING tenant_id, n_events INTO v_tenant, v_seq;
    IF NOT FOUND THEN
        PERFORM control.hold_lease(p_job, p_token);
        RETURN;
    END IF;
    INSERT INTO control.job_events (job_id, tenant_id, seq, type, body, created_at)
    VALUES (p_job, v_tenant, v_seq, 'log',
            CASE
                WHEN v_seq > p_max THEN jsonb_build_object('level', 'warn', 'message', 'further lines are left out')
                ELSE jsonb_build_object('level', p_level, 'message', p_message) END,
            clock_timestamp());
END
$$;

GRANT EXECUTE ON FUNCTION control.note_progress(uuid, uuid, bigint, bigint), control.log_job(uuid, uuid, text, text, integer)
    TO bulkhead_control;

-- Keeps what the job came to, in the transaction of its effects; BH410 unless the lease holds.
CREATE FUNCTION control.set_job_result(p_job uuid, p_token uuid, p_result jsonb) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    PERFORM control.hold_lease(p_job, p_token);
    UPDATE control.jobs SET result = p_result WHERE id = p_job;
END
$$;

GRANT EXECUTE ON FUNCTION control.set_job_result(uuid, uuid, jsonb) TO bulkhead_tenants, bulkhead_control;
