-- Background jobs. A row commits with the rows that caused it; workers lease it, and every effect is fenced by the
-- lease (docs/adr/0003).
CREATE TABLE control.jobs
(
    id           uuid        NOT NULL,
    kind         text        NOT NULL,
    queue        text        NOT NULL,
    -- NULL is the explicit mark of a platform job. No foreign key: a job whose tenant is gone ends as dead, in sight.
    tenant_id    uuid,
    payload      jsonb       NOT NULL,
    state        text        NOT NULL DEFAULT 'queued',
    priority     smallint    NOT NULL DEFAULT 0,
    -- How often it was started; an attempt given back or put off is taken off again.
    attempt      smallint    NOT NULL DEFAULT 0,
    max_attempts smallint    NOT NULL,
    -- How often its worker died over it; the third time it is taken for poison.
    lost_leases  smallint    NOT NULL DEFAULT 0,
    run_at       timestamptz NOT NULL DEFAULT now(),
    lease_token  uuid,
    lease_until  timestamptz,
    -- The last worker that claimed it.
    worker       text,
    unique_key   text,
    principal    text        NOT NULL,
    request_id   text        NOT NULL,
    traceparent  text,
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_queue_check CHECK (queue IN ('default', 'provision', 'maintenance')),
    CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'done', 'dead')),
    CONSTRAINT jobs_lease_check CHECK ((state = 'running') = (lease_token IS NOT NULL)
        AND (lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT jobs_finished_check CHECK ((state IN ('done', 'dead')) = (finished_at IS NOT NULL)),
    -- A queued job always has an attempt left, so that a claim can never fail on its row.
    CONSTRAINT jobs_attempt_check CHECK (attempt BETWEEN 0 AND max_attempts
        AND (state <> 'queued' OR attempt < max_attempts))
);

-- At most one live job per key; a finished one does not stand in the way.
CREATE UNIQUE INDEX jobs_unique_key ON control.jobs (kind, unique_key) WHERE state IN ('queued', 'running') AND unique_key IS NOT NULL;
CREATE INDEX jobs_claim_idx ON control.jobs (priority DESC, run_at) WHERE state = 'queued';
CREATE INDEX jobs_lease_idx ON control.jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_tenant_idx ON control.jobs (tenant_id, created_at);

-- Writes a job for a tenant, or for the platform where the tenant is NULL. Gives NULL when a live job already has the
-- key. The notification leaves with the commit.
CREATE FUNCTION control.insert_job(p_tenant uuid, p_id uuid, p_kind text, p_queue text, p_payload jsonb,
                                   p_priority smallint, p_max_attempts smallint, p_delay_ms bigint, p_unique_key text,
                                   p_principal text, p_request_id text, p_traceparent text) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, priority, max_attempts, run_at, unique_key, principal,
                              request_id, traceparent)
    VALUES (p_id, p_kind, p_queue, p_tenant, p_payload, p_priority, p_max_attempts,
            now() + p_delay_ms * interval '1 millisecond', coalesce(p_tenant::text, 'platform') || ':' || p_unique_key,
            p_principal, p_request_id, p_traceparent)
    ON CONFLICT (kind, unique_key) WHERE state IN ('queued', 'running') AND unique_key IS NOT NULL DO NOTHING
    RETURNING id INTO v_id;
    -- A delayed job is found by polling; a worker woken now would find nothing.
    IF v_id IS NOT NULL AND p_delay_ms = 0 THEN
        PERFORM pg_notify('bulkhead_jobs', p_queue);
    END IF;
    RETURN v_id;
END
$$;

-- Enqueues for the tenant of this transaction and no other: the tenant comes from the role, never from an argument.
CREATE FUNCTION control.enqueue_job(p_id uuid, p_kind text, p_queue text, p_payload jsonb, p_priority smallint,
                                    p_max_attempts smallint, p_delay_ms bigint, p_unique_key text, p_principal text,
                                    p_request_id text, p_traceparent text) RETURNS uuid
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT control.insert_job(control.current_tenant(), p_id, p_kind, p_queue, p_payload, p_priority, p_max_attempts,
                          p_delay_ms, p_unique_key, p_principal, p_request_id, p_traceparent)
$$;

-- Raises BH410 unless the lease still holds, and keeps it from being taken until this transaction ends.
CREATE FUNCTION control.hold_lease(p_job uuid, p_token uuid) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    PERFORM FROM control.jobs WHERE id = p_job AND lease_token = p_token FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lease lost' USING ERRCODE = 'BH410';
    END IF;
END
$$;

GRANT EXECUTE ON FUNCTION control.insert_job(uuid, uuid, text, text, jsonb, smallint, smallint, bigint, text, text, text, text)
    TO bulkhead_control;
GRANT EXECUTE ON FUNCTION control.enqueue_job(uuid, text, text, jsonb, smallint, smallint, bigint, text, text, text, text)
    TO bulkhead_tenants;
GRANT EXECUTE ON FUNCTION control.hold_lease(uuid, uuid) TO bulkhead_tenants, bulkhead_control;
