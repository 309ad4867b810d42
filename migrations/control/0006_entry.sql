-- Entering a tenant asks the registry itself: as a call of a definer function that look cost a third of the entry.
-- The login sees of a tenant what decides whether it may be entered, no more.
ALTER TABLE control.tenants
    ADD COLUMN suspension text,
    ADD CONSTRAINT tenants_suspension_check CHECK ((status = 'suspended') = (suspension IS NOT NULL)
        AND (suspension IS NULL OR suspension IN ('read_only', 'full')));

GRANT SELECT (id, status, suspension, epoch, schema_version) ON control.tenants TO bulkhead_tenant;

-- Enters a tenant for the rest of the transaction: timeouts, search_path, and the tenant's own role last, because that
-- role may no longer call set_config. Everything is local, so the end of the transaction undoes it. Members find a
-- suspended tenant closed or read-only; the platform's own work enters whatever has a schema.
--   BH404 unknown tenant   BH403 tenant not open   BH409 stale epoch   BH426 schema outside of the caller's versions
CREATE FUNCTION control.enter_tenant(p_tenant uuid, p_epoch bigint, p_statement_ms integer, p_oldest bigint,
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
    v_unused     text;
BEGIN
    SELECT t.status, t.suspension, t.epoch, t.schema_version
    INTO v_status, v_suspension, v_epoch, v_version
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
    IF v_suspension = 'read_only' AND NOT p_is_platform THEN
        v_unused := pg_catalog.set_config('transaction_read_only', 'on', true);
    END IF;
    v_unused := pg_catalog.set_config('statement_timeout', p_statement_ms::text, true);
    v_unused := pg_catalog.set_config('lock_timeout', '2000', true);
    v_unused := pg_catalog.set_config('idle_in_transaction_session_timeout', '10000', true);
    v_unused := pg_catalog.set_config('search_path', v_schema || ', pg_temp', true);
    v_unused := pg_catalog.set_config('role', v_schema, true);
END
$$;

GRANT EXECUTE ON FUNCTION control.enter_tenant(uuid, bigint, integer, bigint, bigint, boolean) TO bulkhead_tenant;
