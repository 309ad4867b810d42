-- Roles belong to the whole server: logins of the same name of other databases are brought up to date at the same time, and
-- whoever comes second is told "tuple concurrently updated". What is set already is left alone, and somebody else who sets
-- the same is no failure.
CREATE OR REPLACE FUNCTION control.make_shard_login(p_shard smallint) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_login     text := control.shard_login(p_shard);
    v_wanted    text[] := ARRAY ['DateStyle=ISO, MDY', 'TimeZone=UTC'];
    v_privilege text;
BEGIN
    LOCK TABLE control.shards IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_login) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', v_login);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT EXISTS (SELECT
                   FROM pg_db_role_setting AS s
                            JOIN pg_roles AS r ON r.oid = s.setrole
                   WHERE r.rolname = v_login
                     AND s.setdatabase = 0
                     AND s.setconfig @> v_wanted) THEN
        BEGIN
            -- Behind a pooler RESET ALL goes back to what the server has for the login, and reads take dates in ISO style.
            EXECUTE format('ALTER ROLE %I SET DateStyle = %L', v_login, 'ISO, MDY');
            EXECUTE format('ALTER ROLE %I SET TimeZone = %L', v_login, 'UTC');
        EXCEPTION
            WHEN insufficient_privilege OR internal_error THEN NULL;
        END;
    END IF;
    INSERT INTO control.shards (shard) VALUES (p_shard) ON CONFLICT DO NOTHING;
    FOR v_privilege IN
        SELECT control.privileges_of('bulkhead_tenant') EXCEPT SELECT control.privileges_of(v_login)
    LOOP
        EXECUTE format('GRANT %s TO %I', v_privilege, v_login);
    END LOOP;
    FOR v_privilege IN
        SELECT control.privileges_of(v_login) EXCEPT SELECT control.privileges_of('bulkhead_tenant')
    LOOP
        EXECUTE format('REVOKE %s FROM %I', v_privilege, v_login);
    END LOOP;
END
$$;
