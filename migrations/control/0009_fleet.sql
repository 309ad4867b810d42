-- Migrations of the fleet: one run brings every tenant that is behind to one version, ring by ring (docs/adr/0007).

-- What a version was made of when it was first run; the same version with another text is refused.
CREATE TABLE control.tenant_migrations
(
    version      bigint      NOT NULL,
    name         text        NOT NULL,
    checksum     bytea       NOT NULL,
    first_run_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenant_migrations_pkey PRIMARY KEY (version)
);

CREATE TABLE control.migration_runs
(
    id                   uuid        NOT NULL,
    target               bigint      NOT NULL,
    state                text        NOT NULL DEFAULT 'running',
    -- Why it is paused, stopped or superseded.
    reason               text,
    principal            text        NOT NULL,
    workers              smallint    NOT NULL,
    -- More failed tenants than this, not counting those somebody has accepted by resuming, stop the run.
    max_failures         integer     NOT NULL,
    accepted_failures    integer     NOT NULL DEFAULT 0,
    max_attempts         smallint    NOT NULL,
    lock_timeout_ms      integer     NOT NULL,
    statement_timeout_ms integer     NOT NULL,
    -- Tenants that needed nothing when the run began; they have no row of their own.
    n_at_target          bigint      NOT NULL,
    lease_token          uuid,
    lease_until          timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    finished_at          timestamptz,
    CONSTRAINT migration_runs_pkey PRIMARY KEY (id),
    CONSTRAINT migration_runs_state_check CHECK (state IN ('running', 'paused', 'stopped', 'done', 'failed', 'superseded')),
    CONSTRAINT migration_runs_finished_check CHECK ((state IN ('done', 'failed', 'superseded')) = (finished_at IS NOT NULL)),
    CONSTRAINT migration_runs_lease_check CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT migration_runs_workers_check CHECK (workers BETWEEN 1 AND 32),
    CONSTRAINT migration_runs_attempts_check CHECK (max_attempts BETWEEN 1 AND 20)
);

-- At most one run is open, whoever starts it.
CREATE UNIQUE INDEX migration_runs_open_key ON control.migration_runs ((finished_at IS NULL)) WHERE finished_at IS NULL;
CREATE INDEX migration_runs_list_idx ON control.migration_runs (created_at DESC, id DESC);

-- One row for each tenant that was behind. A tenant's row says done exactly if its schema is at the target: both commit
-- together.
CREATE TABLE control.migration_tenants
(
    run_id      uuid        NOT NULL,
    tenant_id   uuid        NOT NULL,
    -- 0 are the canaries, then 1 %, 10 %, 100 %.
    ring        smallint    NOT NULL,
    position    bigint      NOT NULL,
    state       text        NOT NULL DEFAULT 'pending',
    attempts    smallint    NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT now(),
    -- The lease under which it was claimed.
    runner      uuid,
    -- Why it failed, was put off or was skipped; never a value of the tenant's data.
    error       text,
    started_at  timestamptz,
    finished_at timestamptz,
    CONSTRAINT migration_tenants_pkey PRIMARY KEY (run_id, tenant_id),
    CONSTRAINT migration_tenants_run_fkey FOREIGN KEY (run_id) REFERENCES control.migration_runs (id) ON DELETE CASCADE,
    CONSTRAINT migration_tenants_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT migration_tenants_ring_check CHECK (ring BETWEEN 0 AND 3),
    CONSTRAINT migration_tenants_state_check CHECK (state IN ('pending', 'running', 'done', 'failed', 'skipped')),
    CONSTRAINT migration_tenants_runner_check CHECK ((state = 'running') = (runner IS NOT NULL)),
    CONSTRAINT migration_tenants_error_check CHECK (state NOT IN ('failed', 'skipped') OR error IS NOT NULL)
);

CREATE INDEX migration_tenants_open_idx ON control.migration_tenants (run_id, ring, position) WHERE state IN ('pending', 'running');
CREATE INDEX migration_tenants_tenant_idx ON control.migration_tenants (tenant_id);

-- What is in each of these schemas, one line per thing, in words that are the same for every tenant: the schema's own
-- name is left out, its role is called the tenant. The order of columns says nothing here, since no statement relies on it.
CREATE FUNCTION control.describe_schemas(p_schemas text[]) RETURNS TABLE (schema_name text, line text)
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS
$$
WITH spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname::text AS name, n.nspname::text || '.' AS prefix, n.nspowner AS owner, n.nspacl AS acl
    FROM pg_namespace AS n
    WHERE n.nspname = ANY (p_schemas)
), relations AS MATERIALIZED (
    SELECT s.name AS space, s.prefix, s.owner AS space_owner, c.oid, c.relname::text AS name, c.relkind, c.relowner,
           c.relacl, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.reloptions
    FROM spaces AS s
             JOIN pg_class AS c ON c.relnamespace = s.oid
    WHERE c.relkind NOT IN ('i', 'I', 't')
), functions AS MATERIALIZED (
    SELECT s.name AS space, s.prefix, s.owner AS space_owner, p.oid, p.proowner, p.proacl,
           p.proname::text || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name
    FROM spaces AS s
             JOIN pg_proc AS p ON p.pronamespace = s.oid
), granted AS (
    SELECT s.name AS space, 'the schema' AS thing, a.grantee, a.privilege_type, s.owner
    FROM spaces AS s
             CROSS JOIN LATERAL aclexplode(coalesce(s.acl, acldefault('n', s.owner))) AS a
    UNION ALL
    SELECT r.space, r.name, a.grantee, a.privilege_type, r.relowner
    FROM relations AS r
             CROSS JOIN LATERAL aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) AS a
    UNION ALL
    SELECT r.space, r.name || '.' || c.attname, a.grantee, a.privilege_type, r.relowner
    FROM relations AS r
             JOIN pg_attribute AS c ON c.attrelid = r.oid AND c.attacl IS NOT NULL
             CROSS JOIN LATERAL aclexplode(c.attacl) AS a
    UNION ALL
    SELECT f.space, f.name, a.grantee, a.privilege_type, f.proowner
    FROM functions AS f
             CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
)
SELECT space,
       CASE relkind WHEN 'r' THEN 'table ' WHEN 'v' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'relation of kind ' || relkind::text || ' ' END
           || name || CASE WHEN relpersistence <> 'p' THEN ' not permanent' ELSE '' END
           || CASE WHEN relowner <> space_owner THEN ' owned by ' || pg_get_userbyid(relowner) ELSE '' END
           || CASE WHEN relrowsecurity THEN ' with row security' ELSE '' END
           || CASE WHEN relforcerowsecurity THEN ' forced' ELSE '' END
           || coalesce(' with ' || array_to_string(reloptions, ', '), '')
FROM relations
UNION ALL
SELECT r.space,
       'column ' || r.name || '.' || c.attname || ' ' || replace(format_type(c.atttypid, c.atttypmod), r.prefix, '')
           || CASE WHEN c.attcollation <> t.typcollation THEN ' collated ' || c.attcollation::regcollation::text ELSE '' END
           || CASE WHEN c.attnotnull THEN ' NOT NULL' ELSE '' END
           || CASE WHEN c.attgenerated <> '' THEN ' generated' WHEN c.attidentity <> '' THEN ' identity' ELSE '' END
           || coalesce(' DEFAULT ' || replace(pg_get_expr(d.adbin, d.adrelid), r.prefix, ''), '')
FROM relations AS r
         JOIN pg_attribute AS c ON c.attrelid = r.oid AND c.attnum > 0 AND NOT c.attisdropped
         JOIN pg_type AS t ON t.oid = c.atttypid
         LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = c.attnum
UNION ALL
SELECT r.space,
       'index ' || replace(pg_get_indexdef(i.indexrelid), r.prefix, '') || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
FROM relations AS r
         JOIN pg_index AS i ON i.indrelid = r.oid
UNION ALL
-- PostgreSQL 18 has a constraint for each NOT NULL; the column tells that already.
SELECT r.space, 'constraint ' || r.name || '.' || k.conname || ' ' || replace(pg_get_constraintdef(k.oid), r.prefix, '')
FROM relations AS r
         JOIN pg_constraint AS k ON k.conrelid = r.oid AND k.contype <> 'n'
UNION ALL
SELECT r.space,
       'trigger ' || replace(pg_get_triggerdef(g.oid), r.prefix, '') || CASE WHEN g.tgenabled = 'O' THEN '' ELSE ' not enabled' END
FROM relations AS r
         JOIN pg_trigger AS g ON g.tgrelid = r.oid AND NOT g.tgisinternal
UNION ALL
SELECT f.space,
       'function ' || f.name || ' with the definition ' || md5(replace(pg_get_functiondef(f.oid), f.prefix, ''))
           || CASE WHEN f.proowner <> f.space_owner THEN ' owned by ' || pg_get_userbyid(f.proowner) ELSE '' END
FROM functions AS f
         JOIN pg_proc AS p ON p.oid = f.oid AND p.prokind IN ('f', 'p')
UNION ALL
SELECT s.name, 'type ' || t.typname
FROM spaces AS s
         JOIN pg_type AS t ON t.typnamespace = s.oid AND t.typtype IN ('d', 'e', 'r', 'm')
UNION ALL
SELECT space,
       'grant ' || string_agg(privilege_type, ', ' ORDER BY privilege_type) || ' on ' || thing || ' to '
           || CASE WHEN grantee = 0 THEN 'everybody' WHEN pg_get_userbyid(grantee) = space THEN 'the tenant'
               ELSE pg_get_userbyid(grantee)::text END
FROM granted
WHERE grantee <> owner
GROUP BY space, thing, grantee
$$;
