-- What a tenant role could still do beside its own tables: leave large objects to others, take advisory locks that our
-- migrations wait for, wake workers from inside a query, run code of its own. Who owns these objects is the superuser of
-- the server, so a managed service may refuse; control.hardening() says what became of each step.
DO $$
DECLARE
    v_step     record;
    v_function record;
    v_language record;
BEGIN
    FOR v_step IN
        SELECT steps.pattern, steps.users
        FROM (VALUES ('^(lo_|loread$|lowrite$)', 'CURRENT_USER'),
                     -- Letting go stays open to all: it frees what the session itself holds, and every commit does it.
                     ('^pg_(try_)?advisory_(xact_)?lock', 'CURRENT_USER, bulkhead_control'),
                     ('^pg_notify$', 'CURRENT_USER, bulkhead_control')) AS steps (pattern, users)
    LOOP
        FOR v_function IN
            SELECT p.oid::regprocedure AS name, pg_has_role(p.proowner, 'USAGE') AS is_ours
            FROM pg_catalog.pg_proc AS p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace
              AND p.proname ~ v_step.pattern
              AND has_function_privilege('public', p.oid, 'EXECUTE')
        LOOP
            IF v_function.is_ours THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', v_function.name, v_step.users);
                EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', v_function.name);
            ELSE
                RAISE NOTICE '% and its like stay executable by PUBLIC: they are not ours', v_function.name;
                EXIT;
            END IF;
        END LOOP;
    END LOOP;
    -- Without a language there is no DO and no CREATE FUNCTION; functions that exist go on running.
    FOR v_language IN
        SELECT l.lanname AS name, pg_has_role(l.lanowner, 'USAGE') AS is_ours
        FROM pg_catalog.pg_language AS l
        WHERE l.lanpltrusted
          AND has_language_privilege('public', l.oid, 'USAGE')
    LOOP
        IF v_language.is_ours THEN
            EXECUTE format('GRANT USAGE ON LANGUAGE %I TO CURRENT_USER', v_language.name);
            EXECUTE format('REVOKE USAGE ON LANGUAGE %I FROM PUBLIC', v_language.name);
        ELSE
            RAISE NOTICE 'the language % stays usable by PUBLIC: it is not ours', v_language.name;
        END IF;
    END LOOP;
END
$$;

-- Comments can be read by everybody, and these told every tenant the slugs of all others.
DO $$
DECLARE
    v_schema text;
BEGIN
    FOR v_schema IN
        SELECT n.nspname
        FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname ~ '^t_[0-9a-f]{32}$'
          AND obj_description(n.oid, 'pg_namespace') IS NOT NULL
    LOOP
        EXECUTE format('COMMENT ON SCHEMA %I IS NULL', v_schema);
    END LOOP;
END
$$;

-- Raises BH410 unless the lease still holds, and keeps it from being taken until this transaction ends. Inside a tenant
-- only a job of this tenant or of the platform can be held, whoever knows the token of another.
CREATE OR REPLACE FUNCTION control.hold_lease(p_job uuid, p_token uuid) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_tenant uuid;
BEGIN
    IF current_setting('role') <> 'none' THEN
        v_tenant := control.current_tenant();
    END IF;
    PERFORM
    FROM control.jobs AS j
    WHERE j.id = p_job
      AND j.lease_token = p_token
      AND (v_tenant IS NULL OR j.tenant_id IS NULL OR j.tenant_id = v_tenant)
        FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lease lost' USING ERRCODE = 'BH410';
    END IF;
END
$$;

-- Each step that makes a way out of a tenant narrower, whether this server has taken it, and what protects where it has
-- not (docs/isolation.md). Read from the catalog, so it is true also of what somebody changed by hand.
CREATE FUNCTION control.hardening()
    RETURNS TABLE
            (
                step                   text,
                is_done                boolean,
                what_protects_otherwise text
            )
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT f.step,
       NOT EXISTS (SELECT
                   FROM pg_proc AS p
                   WHERE p.pronamespace = 'pg_catalog'::regnamespace
                     AND p.proname ~ f.pattern
                     AND has_function_privilege('public', p.oid, 'EXECUTE')),
       f.what_protects_otherwise
FROM (VALUES ('set_config is not for PUBLIC', '^set_config$',
              'a tenant role reaches its own schema alone; only a query that calls set_config could take another role, '
                  'and no text of a user ever becomes part of a query'),
             ('large objects are not for PUBLIC', '^(lo_|loread$|lowrite$)',
              'a large object belongs to the role that made it and is closed to others; the product makes none'),
             ('advisory locks are not for PUBLIC', '^pg_(try_)?advisory_(xact_)?lock',
              'requests wait for no advisory lock; a migration would wait until the transaction ends, 10 s idle at most'),
             ('pg_notify is not for PUBLIC', '^pg_notify$',
              'a wake-up carries no data: workers look at the table and find what is really due'))
         AS f (step, pattern, what_protects_otherwise)
UNION ALL
SELECT 'languages are not for PUBLIC',
       NOT EXISTS (SELECT FROM pg_language AS l WHERE l.lanpltrusted AND has_language_privilege('public', l.oid, 'USAGE')),
       'a tenant role may create nothing anywhere, and DO is a statement of its own, which nobody can send'
UNION ALL
SELECT 'the database is not for PUBLIC',
       NOT EXISTS (SELECT
                   FROM unnest(ARRAY ['CONNECT', 'CREATE', 'TEMPORARY']) AS verb
                   WHERE has_database_privilege('public', current_database(), verb)),
       'pg_temp comes last in every path of ours, so that no temporary table stands before a real one'
UNION ALL
SELECT 'the schema public is not for PUBLIC',
       NOT EXISTS (SELECT
                   FROM pg_namespace AS n,
                        unnest(ARRAY ['CREATE', 'USAGE']) AS verb
                   WHERE n.nspname = 'public'
                     AND has_schema_privilege('public', n.oid, verb)),
       'public stands in no path of ours'
UNION ALL
SELECT 'large objects keep their privileges', NOT current_setting('lo_compat_privileges')::boolean,
       'the functions that read and write them are not for PUBLIC'
UNION ALL
SELECT 'there are no prepared transactions', current_setting('max_prepared_transactions')::integer = 0,
       'PREPARE TRANSACTION is a statement of its own, which nobody can send'
UNION ALL
SELECT 'the tenant logins have no power of their own',
       NOT EXISTS (SELECT
                   FROM pg_roles AS r
                   WHERE r.rolname ~ '^bulkhead_tenant(_[0-9]+)?$'
                     AND (r.rolinherit OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb
                       OR r.rolreplication
                       OR EXISTS (SELECT
                                  FROM pg_auth_members AS m
                                           JOIN pg_roles AS g ON g.oid = m.roleid
                                  WHERE m.member = r.oid
                                    AND g.rolname LIKE 'pg\_%'))),
       'nothing: take the attribute or the membership away before you go on'
$$;

GRANT EXECUTE ON FUNCTION control.hardening() TO bulkhead_control;
