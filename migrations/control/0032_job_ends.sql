-- A job that a tenant submitted has ended: the tenant's webhooks are told by a job of their own, written with the end, since
-- who ends a job is not inside the tenant. Its id is made of the time, like all ids of jobs (RFC 9562, version 7).
CREATE FUNCTION control.announce_job_end() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_millis bigint := extract(EPOCH FROM clock_timestamp()) * 1000;
    v_id     bytea  := overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send(v_millis) FROM 3) FROM 1 FOR 6);
BEGIN
    PERFORM control.insert_job(
            p_tenant => NEW.tenant_id, p_id => encode(set_bit(set_bit(v_id, 52, 1), 53, 1), 'hex')::uuid,
            p_kind => 'jobs.announce', p_queue => 'default',
            p_payload => jsonb_build_object(
                    'job', NEW.id, 'kind', NEW.kind, 'at', NEW.finished_at,
                    'state', CASE NEW.state WHEN 'dead' THEN 'failed' ELSE NEW.state END),
            p_priority => 0::smallint, p_max_attempts => 8::smallint, p_delay_ms => 0, p_deadline_ms => NULL,
            p_is_visible => false, p_unique_key => NULL, p_principal => NEW.principal, p_request_id => NEW.request_id,
            p_traceparent => NEW.traceparent);
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_ended_trigger
    AFTER UPDATE OF state
    ON control.jobs
    FOR EACH ROW
    -- What the platform does about a tenant is seen by it too, and told in other ways.
    WHEN (NEW.is_visible AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL AND NEW.kind NOT LIKE 'tenants.%')
EXECUTE FUNCTION control.announce_job_end();
