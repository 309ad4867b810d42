-- A tenant that moves goes on changing while it is copied (docs/adr/0020). Triggers on its tables keep the keys of what
-- changed here, beside the schema, and the move carries the present state of those rows over, round by round. No foreign key:
-- a writer must not wait for who changes the tenant.
CREATE TABLE control.move_changes
(
    move_id    uuid  NOT NULL,
    tenant_id  uuid  NOT NULL,
    table_name text  NOT NULL,
    key        jsonb NOT NULL
);

CREATE INDEX move_changes_move_idx ON control.move_changes (tenant_id, move_id, table_name);

REVOKE INSERT, UPDATE, DELETE ON control.move_changes FROM bulkhead_control;

-- The move for which changes of the tenant are captured in this database.
ALTER TABLE control.tenants
    ADD COLUMN captured_by uuid;

-- How often the tenant was frozen and thawed again, because what used it did not come to rest.
ALTER TABLE control.moves
    ADD COLUMN n_freezes integer NOT NULL DEFAULT 0;

ALTER TABLE control.moves
    DROP CONSTRAINT moves_state_check;
ALTER TABLE control.moves
    ADD CONSTRAINT moves_state_check CHECK (state IN ('preparing', 'copying', 'verifying', 'catching_up', 'freezing',
                                                      'switching', 'releasing', 'erasing', 'done', 'aborting', 'aborted'));

-- Its arguments are the move, the tenant and the columns of the table's key.
CREATE FUNCTION control.capture_change() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'the tenant is being moved' USING ERRCODE = 'object_in_use';
    END IF;
    INSERT INTO control.move_changes (move_id, tenant_id, table_name, key)
    SELECT DISTINCT TG_ARGV[0]::uuid, TG_ARGV[1]::uuid, TG_TABLE_NAME, k.key
    FROM (VALUES (CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END),
                 (CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END)) AS r (value)
             CROSS JOIN LATERAL (SELECT jsonb_object_agg(c.name, r.value -> c.name) AS key
                                 FROM unnest(TG_ARGV[2:]) AS c (name)) AS k
    WHERE r.value IS NOT NULL;
    RETURN NULL;
END
$$;

-- As before, and without the triggers of a move that is under way.
CREATE OR REPLACE FUNCTION control.describe_schemas(p_schemas text[]) RETURNS TABLE (schema_name text, line text)
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
WHERE g.tgfoid <> 'control.capture_change()'::regprocedure
   OR NOT EXISTS (SELECT
                  FROM control.tenants AS t
                  WHERE t.captured_by IS NOT NULL
                    AND 't_' || replace(t.id::text, '-', '') = r.space)
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
