-- The throw-away tenants of an examination (bulkhead-api doctor isolation). Whoever counts, bills or migrates tenants
-- leaves out what stands here. A row goes with its tenant; what a killed examination left is removed by the next.
CREATE TABLE control.doctor_tenants
(
    tenant_id uuid        NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT doctor_tenants_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT doctor_tenants_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE
);

-- Behind a pooler RESET ALL goes back to what the server has for the login, not to what the client asked for when it
-- connected. Reads take dates as text, so the login has to have them in ISO style by itself.
DO $$
BEGIN
    ALTER ROLE bulkhead_control SET DateStyle = 'ISO, MDY';
    ALTER ROLE bulkhead_control SET TimeZone = 'UTC';
    ALTER ROLE bulkhead_tenant SET DateStyle = 'ISO, MDY';
    ALTER ROLE bulkhead_tenant SET TimeZone = 'UTC';
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'the logins keep the server''s own style of dates: this server refuses to change them';
END
$$;
