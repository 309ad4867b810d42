-- Shards: the first SET ROLE of a session takes longer the more roles its login is a member of (3 ms with 1,000, 200 ms
-- with 10,000), so each shard of tenants has a login of its own. bulkhead_tenant is that of shard 0, bulkhead_tenant_1
-- that of shard 1. A tenant belongs to the shard that it got with its role; no other login may take that role.
CREATE TABLE control.shards
(
    shard smallint NOT NULL,
    CONSTRAINT shards_pkey PRIMARY KEY (shard),
    CONSTRAINT shards_shard_check CHECK (shard >= 0)
);

INSERT INTO control.shards (shard)
VALUES (0);

-- Whoever has a role by now is a member of bulkhead_tenant. Without a role there is no shard yet.
ALTER TABLE control.tenants
    ADD COLUMN shard smallint DEFAULT 0,
    ADD CONSTRAINT tenants_shard_fkey FOREIGN KEY (shard) REFERENCES control.shards (shard);
ALTER TABLE control.tenants
    ALTER COLUMN shard DROP DEFAULT;

CREATE INDEX tenants_shard_idx ON control.tenants (shard);

CREATE FUNCTION control.shard_login(p_shard smallint) RETURNS text
    LANGUAGE sql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT 'bulkhead_tenant' || CASE WHEN p_shard = 0 THEN '' ELSE '_' || p_shard END
$$;

-- What was granted to a role by name in this database, as GRANT and REVOKE say it. Tenants' schemas are left out: nothing
-- in them is ever granted to a login.
CREATE FUNCTION control.privileges_of(p_role text) RETURNS SETOF text
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
WITH ours AS (SELECT n.oid, n.nspname, n.nspacl
              FROM pg_namespace AS n
              WHERE n.nspname IN ('control', 'pg_catalog', 'public')),
     tables AS (SELECT c.oid, c.relacl
                FROM pg_class AS c
                         JOIN ours ON ours.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'v', 'm', 'p')),
     acls AS (SELECT ' ON DATABASE ' || quote_ident(d.datname) AS wording, d.datacl AS acl
              FROM pg_database AS d
              WHERE d.datname = current_database()
              UNION ALL
              SELECT ' ON SCHEMA ' || quote_ident(ours.nspname), ours.nspacl
              FROM ours
              UNION ALL
              SELECT ' ON TABLE ' || t.oid::regclass, t.relacl
              FROM tables AS t
              UNION ALL
              SELECT ' (' || quote_ident(a.attname) || ') ON TABLE ' || t.oid::regclass, a.attacl
              FROM tables AS t
                       JOIN pg_attribute AS a ON a.attrelid = t.oid
              WHERE a.attacl IS NOT NULL
              UNION ALL
              SELECT ' ON FUNCTION ' || p.oid::regprocedure, p.proacl
              FROM pg_proc AS p
                       JOIN ours ON ours.oid = p.pronamespace
              WHERE p.proacl IS NOT NULL)
SELECT item.privilege_type || acls.wording
FROM acls
         CROSS JOIN LATERAL aclexplode(acls.acl) AS item
WHERE item.grantee = p_role::regrole
$$;

-- Makes the login of a shard, or brings it up to date: it may do exactly what bulkhead_tenant may by name, whatever
-- migrations have granted or revoked since. Every run of the migrations calls this for all shards. It inherits nothing.
-- Those who make logins wait for each other until their transactions end.
CREATE FUNCTION control.make_shard_login(p_shard smallint) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS
$$
DECLARE
    v_login     text := control.shard_login(p_shard);
    v_privilege text;
BEGIN
    LOCK TABLE control.shards IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_login) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', v_login);
        EXCEPTION
            -- Roles belong to the whole cluster: a shard of another database was faster.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    BEGIN
        -- Behind a pooler RESET ALL goes back to what the server has for the login, and reads take dates in ISO style.
        EXECUTE format('ALTER ROLE %I SET DateStyle = %L', v_login, 'ISO, MDY');
        EXECUTE format('ALTER ROLE %I SET TimeZone = %L', v_login, 'UTC');
    EXCEPTION
        WHEN insufficient_privilege THEN NULL;
    END;
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

-- Gives a tenant its shard, for good: the least filled one below the bound, or a new one. Assignments wait for each other
-- until the transaction ends, so that no two take the last place.
CREATE FUNCTION control.assign_shard(p_tenant uuid, p_bound integer, OUT shard smallint, OUT is_new boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    is_new := false;
    SELECT t.shard INTO shard FROM control.tenants AS t WHERE t.id = p_tenant;
    IF shard IS NOT NULL THEN
        RETURN;
    END IF;
    LOCK TABLE control.shards IN SHARE ROW EXCLUSIVE MODE;
    SELECT s.shard
    INTO shard
    FROM control.shards AS s
             LEFT JOIN control.tenants AS t ON t.shard = s.shard
    GROUP BY s.shard
    HAVING count(t.id) < p_bound
    ORDER BY count(t.id), s.shard
    LIMIT 1;
    IF shard IS NULL THEN
        SELECT max(s.shard) + 1 INTO shard FROM control.shards AS s;
        PERFORM control.make_shard_login(shard);
        is_new := true;
    END IF;
    UPDATE control.tenants AS t SET shard = assign_shard.shard, updated_at = now() WHERE t.id = p_tenant;
END
$$;
