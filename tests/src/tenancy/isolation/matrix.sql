-- The terms that all rules share. $1 and $2 are the functions that are granted, and to whom.
WITH login (role) AS (SELECT rolname::text FROM pg_roles WHERE rolname ~ '^bulkhead_tenant(_[0-9]+)?$'),
     tenant (role) AS (SELECT 't_' || replace(id::text, '-', '') FROM control.tenants),
     who (role, kind) AS MATERIALIZED (SELECT role, 'tenant'
                                       FROM tenant
                                       UNION ALL
                                       SELECT role, 'bulkhead_tenant'
                                       FROM login
                                       UNION ALL
                                       VALUES ('bulkhead_tenants', 'bulkhead_tenants'),
                                              ('bulkhead_control', 'bulkhead_control'),
                                              ('public', 'public')),
     ours (oid, name) AS MATERIALIZED (SELECT n.oid, n.nspname::text
                                       FROM pg_namespace AS n
                                       WHERE n.nspname IN ('control', 'public')
                                          OR n.nspname IN (SELECT role FROM tenant)),
     granted (function, grantee) AS (SELECT g.function, g.grantee FROM unnest($1::text[], $2::text[]) AS g (function, grantee)),
     -- The columns that entering a tenant looks at.
     visible (relation, col) AS (VALUES ('control.tenants', 'id'),
                                        ('control.tenants', 'status'),
                                        ('control.tenants', 'suspension'),
                                        ('control.tenants', 'epoch'),
                                        ('control.tenants', 'schema_version'),
                                        ('control.tenants', 'frozen_by'))
;

-- Tables and views: a tenant its own, the login bulkhead_control those of control, nobody anything else.
SELECT format('%s on %s: %s %s', verb, c.oid::regclass, w.role, CASE WHEN x.has THEN 'has it' ELSE 'lacks it' END)
FROM who AS w
         CROSS JOIN ours AS o
         JOIN pg_class AS c ON c.relnamespace = o.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         CROSS JOIN unnest(ARRAY ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
    || CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY ['MAINTAIN'] ELSE '{}' END) AS verb
         CROSS JOIN LATERAL (SELECT has_table_privilege(w.role, c.oid, verb) AS has,
                                    verb IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
                                        AND ((w.kind = 'tenant' AND o.name = w.role
                                            -- What is recorded stays as it was recorded.
                                            AND (c.relname <> 'audit_events' OR verb IN ('SELECT', 'INSERT')))
                                        OR (w.kind = 'bulkhead_control' AND o.name = 'control' AND c.relname <> 'migrations'
                                            -- Receipts, the heads of the audit chains and what a move has
                                            -- captured are the owner's to write.
                                            AND (c.relname NOT IN ('purge_receipts', 'audit_heads', 'move_changes')
                                                OR verb = 'SELECT')
                                            -- Operators are never gone, nor what they did.
                                            AND (c.relname NOT IN ('operators', 'support_access') OR verb <> 'DELETE')
                                            AND (c.relname <> 'platform_events' OR verb IN ('SELECT', 'INSERT')))) AS may) AS x
WHERE x.has <> x.may
;

-- Columns granted one by one.
SELECT format('%s on column %s.%s: %s %s', verb, relation, col, role, CASE WHEN wanted IS NULL THEN 'has it' ELSE 'lacks it' END)
FROM (SELECT c.oid::regclass::text AS relation, a.attname::text AS col, acl.privilege_type AS verb,
             CASE WHEN acl.grantee = 0 THEN 'public' ELSE pg_get_userbyid(acl.grantee)::text END AS role
      FROM ours AS o
               JOIN pg_class AS c ON c.relnamespace = o.oid
               JOIN pg_attribute AS a ON a.attrelid = c.oid
               CROSS JOIN aclexplode(a.attacl) AS acl
      WHERE a.attacl IS NOT NULL) AS found
         FULL JOIN (SELECT v.relation, v.col, 'SELECT' AS verb, l.role FROM visible AS v CROSS JOIN login AS l) AS wanted
                   USING (relation, col, verb, role)
WHERE found IS NULL
   OR wanted IS NULL
;

-- Sequences, of which only control may have some.
SELECT format('%s on %s: %s has it', verb, c.oid::regclass, w.role)
FROM who AS w
         CROSS JOIN ours AS o
         JOIN pg_class AS c ON c.relnamespace = o.oid AND c.relkind = 'S'
         CROSS JOIN unnest(ARRAY ['SELECT', 'UPDATE', 'USAGE']) AS verb
WHERE has_sequence_privilege(w.role, c.oid, verb)
  AND NOT (w.kind = 'bulkhead_control' AND o.name = 'control')
;

-- Functions: the list in functions.rs and nothing else.
SELECT format('EXECUTE on %s: %s %s', p.oid::regprocedure, w.role, CASE WHEN x.has THEN 'has it' ELSE 'lacks it' END)
FROM who AS w
         CROSS JOIN ours AS o
         JOIN pg_proc AS p ON p.pronamespace = o.oid
         CROSS JOIN LATERAL (SELECT has_function_privilege(w.role, p.oid, 'EXECUTE') AS has,
                                    EXISTS (SELECT
                                            FROM granted AS g
                                            WHERE g.function = p.oid::regprocedure::text
                                              AND g.grantee = CASE w.kind WHEN 'tenant' THEN 'bulkhead_tenants' ELSE w.kind END)
                                        AS may) AS x
WHERE x.has <> x.may
;

SELECT format('%s is listed as granted and does not exist', function)
FROM granted
WHERE to_regprocedure(function) IS NULL
;

-- Schemas: nobody creates anything in any of them.
SELECT format('%s on schema %s: %s %s', verb, n.nspname, w.role, CASE WHEN x.has THEN 'has it' ELSE 'lacks it' END)
FROM who AS w
         CROSS JOIN pg_namespace AS n
         CROSS JOIN unnest(ARRAY ['USAGE', 'CREATE']) AS verb
         CROSS JOIN LATERAL (SELECT has_schema_privilege(w.role, n.oid, verb) AS has,
                                    verb = 'USAGE' AND (n.nspname IN ('pg_catalog', 'information_schema')
                                        OR (w.kind = 'tenant' AND n.nspname = w.role)
                                        OR (w.kind <> 'public' AND n.nspname = 'control')) AS may) AS x
WHERE x.has <> x.may
;

SELECT format('%s on the database: %s %s', verb, w.role, CASE WHEN x.has THEN 'has it' ELSE 'lacks it' END)
FROM who AS w
         CROSS JOIN unnest(ARRAY ['CONNECT', 'CREATE', 'TEMPORARY']) AS verb
         CROSS JOIN LATERAL (SELECT has_database_privilege(w.role, current_database(), verb) AS has,
                                    verb = 'CONNECT' AND w.kind IN ('bulkhead_tenant', 'bulkhead_control') AS may) AS x
WHERE x.has <> x.may
;

SELECT format('USAGE on language %s: %s has it', l.lanname, w.role)
FROM who AS w
         CROSS JOIN pg_language AS l
WHERE l.lanpltrusted
  AND has_language_privilege(w.role, l.oid, 'USAGE')
;

-- Functions with their owner's rights.
SELECT format('%s has its owner''s rights and an open path', p.oid::regprocedure)
FROM pg_proc AS p
WHERE p.prosecdef
  AND p.pronamespace <> 'pg_catalog'::regnamespace
  AND NOT coalesce(p.proconfig @> ARRAY ['search_path=pg_catalog, pg_temp'], false)
;

-- Memberships: a tenant's role in the group, a login in a tenant's role, nothing beside.
SELECT format('%s is a member of %s', m.member::regrole, m.roleid::regrole)
FROM pg_auth_members AS m
         JOIN pg_roles AS g ON g.oid = m.roleid
         JOIN pg_roles AS r ON r.oid = m.member
         LEFT JOIN who AS above ON above.role = g.rolname
         LEFT JOIN who AS w ON w.role = r.rolname
WHERE (above.role IS NOT NULL OR w.role IS NOT NULL)
  AND (m.admin_option
    OR NOT coalesce((above.kind = 'bulkhead_tenants' AND w.kind = 'tenant')
                        OR (above.kind = 'tenant' AND w.kind = 'bulkhead_tenant'), false))
;

SELECT format('%s has %s logins', t.role, count(l.role))
FROM tenant AS t
         JOIN pg_roles AS r ON r.rolname = t.role
         LEFT JOIN pg_auth_members AS m ON m.roleid = r.oid
         LEFT JOIN login AS l ON l.role = m.member::regrole::text
GROUP BY t.role
HAVING count(l.role) <> 1
;

SELECT format('%s has an attribute that its kind must not have', r.rolname)
FROM pg_roles AS r
         JOIN who AS w ON w.role = r.rolname
WHERE r.rolsuper
   OR r.rolbypassrls
   OR r.rolcreaterole
   OR r.rolcreatedb
   OR r.rolreplication
   OR r.rolcanlogin <> (w.kind IN ('bulkhead_tenant', 'bulkhead_control'))
   OR r.rolinherit <> (w.kind = 'tenant')
;

-- How dates are written is the same for every login, so that it survives RESET ALL behind a pooler.
SELECT format('%s has the setting %s of its own', w.role, setting)
FROM pg_db_role_setting AS s
         JOIN who AS w ON w.role = s.setrole::regrole::text
         CROSS JOIN unnest(s.setconfig) AS setting
WHERE w.kind = 'tenant'
   OR s.setdatabase <> 0
   OR setting NOT IN ('DateStyle=ISO, MDY', 'TimeZone=UTC')
;

SELECT DISTINCT format('%s owns something', w.role)
FROM pg_shdepend AS d
         JOIN who AS w ON w.role = d.refobjid::regrole::text
WHERE d.refclassid = 'pg_authid'::regclass
  AND d.deptype = 'o'
;

-- Grants to roles that the rules above do not know, and grants that can be handed on.
SELECT CASE
           WHEN w.role IS NULL THEN format('%s has a grant on %s', a.grantee::regrole, a.name)
           ELSE format('%s may grant %s on %s', w.role, a.verb, a.name)
           END
FROM (SELECT c.oid::regclass::text AS name, c.relowner AS owner, acl.grantee, acl.privilege_type AS verb, acl.is_grantable
      FROM ours AS o
               JOIN pg_class AS c ON c.relnamespace = o.oid
               CROSS JOIN aclexplode(c.relacl) AS acl
      UNION ALL
      SELECT p.oid::regprocedure::text, p.proowner, acl.grantee, acl.privilege_type, acl.is_grantable
      FROM ours AS o
               JOIN pg_proc AS p ON p.pronamespace = o.oid
               CROSS JOIN aclexplode(p.proacl) AS acl
      UNION ALL
      SELECT 'schema ' || n.nspname, n.nspowner, acl.grantee, acl.privilege_type, acl.is_grantable
      FROM ours AS o
               JOIN pg_namespace AS n ON n.oid = o.oid
               CROSS JOIN aclexplode(n.nspacl) AS acl) AS a
         LEFT JOIN who AS w ON w.role = a.grantee::regrole::text
WHERE a.grantee NOT IN (0, a.owner)
  AND (w.role IS NULL OR a.is_grantable)
;

SELECT format('what is made later is granted to %s', CASE WHEN acl.grantee = 0 THEN 'public' ELSE acl.grantee::regrole::text END)
FROM pg_default_acl AS d
         CROSS JOIN aclexplode(d.defaclacl) AS acl
WHERE acl.grantee <> d.defaclrole
  AND NOT (d.defaclnamespace = 'control'::regnamespace AND d.defaclobjtype = 'r' AND acl.grantee = 'bulkhead_control'::regrole
    AND acl.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
;

SELECT 'functions made later are for everybody'
WHERE NOT EXISTS (SELECT FROM pg_default_acl AS d WHERE d.defaclnamespace = 0 AND d.defaclobjtype = 'f')
   OR EXISTS (SELECT
              FROM pg_default_acl AS d
                       CROSS JOIN aclexplode(d.defaclacl) AS acl
              WHERE d.defaclobjtype = 'f'
                AND acl.grantee = 0)
;

-- Things that must not be there at all.
SELECT format('%s is no table', c.oid::regclass)
FROM pg_class AS c
         JOIN tenant AS t ON t.role = c.relnamespace::regnamespace::text
WHERE c.relkind NOT IN ('r', 'i')
;

SELECT format('%s is a type of its own', format_type(y.oid, NULL))
FROM pg_type AS y
         JOIN tenant AS t ON t.role = y.typnamespace::regnamespace::text
WHERE y.typtype <> 'c'
  AND y.typelem = 0
;

SELECT format('%s lies in public', c.relname)
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
;

SELECT format('the extension %s lies in %s', e.extname, e.extnamespace::regnamespace)
FROM pg_extension AS e
WHERE e.extnamespace NOT IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
;

SELECT format('there is the large object %s', l.oid)
FROM pg_largeobject_metadata AS l
;

SELECT format('there is the foreign data wrapper %s', f.fdwname)
FROM pg_foreign_data_wrapper AS f
;

SELECT format('there is the event trigger %s', e.evtname)
FROM pg_event_trigger AS e
;

SELECT format('%s has a grant on the setting %s', acl.grantee::regrole, p.parname)
FROM pg_parameter_acl AS p
         CROSS JOIN aclexplode(p.paracl) AS acl
WHERE acl.grantee <> acl.grantor
;

SELECT DISTINCT format('a comment on %s or what is in it can be read by all', t.role)
FROM pg_description AS d
         LEFT JOIN pg_class AS c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
         JOIN pg_namespace AS n ON n.oid = CASE WHEN d.classoid = 'pg_namespace'::regclass THEN d.objoid ELSE c.relnamespace END
         JOIN tenant AS t ON t.role = n.nspname
;

SELECT format('hardening: %s', step)
FROM control.hardening()
WHERE NOT is_done
