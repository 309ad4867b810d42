-- The index of memberships is kept at home, and members are where their tenant lives (docs/adr/0021). What a cluster changes
-- waits in its outbox until it is written at home.

-- The newest that has to be written about each member. It goes with its tenant when that moves.
CREATE TABLE control.membership_outbox
(
    tenant_id   uuid   NOT NULL,
    identity_id uuid   NOT NULL,
    role        text   NOT NULL,
    status      text   NOT NULL,
    -- Together they say which of two words about a member is newer: moving raises the epoch, and what is written under one
    -- epoch is counted by one cluster.
    epoch       bigint NOT NULL,
    seq         bigint NOT NULL,
    CONSTRAINT membership_outbox_pkey PRIMARY KEY (tenant_id, identity_id),
    CONSTRAINT membership_outbox_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT membership_outbox_status_check CHECK (status IN ('active', 'inactive', 'removed'))
);

-- The newest that was written into the index about each member, also about those who were removed since.
CREATE TABLE control.membership_words
(
    tenant_id   uuid   NOT NULL,
    identity_id uuid   NOT NULL,
    epoch       bigint NOT NULL,
    seq         bigint NOT NULL,
    CONSTRAINT membership_words_pkey PRIMARY KEY (tenant_id, identity_id),
    CONSTRAINT membership_words_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES control.tenants (id) ON DELETE CASCADE,
    CONSTRAINT membership_words_identity_fkey FOREIGN KEY (identity_id) REFERENCES control.identities (id) ON DELETE CASCADE
);

CREATE INDEX membership_words_identity_idx ON control.membership_words (identity_id);

CREATE SEQUENCE control.membership_seq;

-- Writes a word into the index unless a newer one was written. False where there is no such person.
CREATE FUNCTION control.apply_membership(p_tenant uuid, p_identity uuid, p_role text, p_status text, p_epoch bigint,
                                         p_seq bigint) RETURNS boolean
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    INSERT INTO control.membership_words AS w (tenant_id, identity_id, epoch, seq)
    SELECT t.id, i.id, p_epoch, p_seq
    FROM control.identities AS i
             CROSS JOIN control.tenants AS t
    WHERE i.id = p_identity
      AND t.id = p_tenant
    ON CONFLICT (tenant_id, identity_id) DO UPDATE SET epoch = EXCLUDED.epoch,
                                                       seq   = EXCLUDED.seq
    WHERE (w.epoch, w.seq) < (EXCLUDED.epoch, EXCLUDED.seq);
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT FROM control.identities AS i WHERE i.id = p_identity);
    ELSIF p_status = 'removed' THEN
        DELETE FROM control.memberships AS m WHERE m.identity_id = p_identity AND m.tenant_id = p_tenant;
    ELSE
        INSERT INTO control.memberships AS m (identity_id, tenant_id, role, status)
        VALUES (p_identity, p_tenant, p_role, p_status)
        ON CONFLICT (identity_id, tenant_id) DO UPDATE SET role   = EXCLUDED.role,
                                                           status = EXCLUDED.status;
    END IF;
    RETURN true;
END
$$;

GRANT EXECUTE ON FUNCTION control.apply_membership(uuid, uuid, text, text, bigint, bigint) TO bulkhead_control;

-- As before, and every word is counted, so that an older one from elsewhere comes too late.
CREATE OR REPLACE FUNCTION control.set_membership(p_identity uuid, p_role text, p_status text) RETURNS boolean
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT control.apply_membership(t.id, p_identity, p_role, p_status, t.epoch, nextval('control.membership_seq'))
FROM control.tenants AS t
WHERE t.id = control.current_tenant()
$$;

CREATE OR REPLACE FUNCTION control.delete_membership(p_identity uuid) RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT control.set_membership(p_identity, 'none', 'removed')
$$;

-- The same for a tenant that does not live at home: the word waits in this cluster. Whoever changes rights in a tenant takes
-- turns, so the order of the words is that of the changes.
CREATE FUNCTION control.await_membership(p_identity uuid, p_role text, p_status text) RETURNS boolean
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
INSERT INTO control.membership_outbox AS o (tenant_id, identity_id, role, status, epoch, seq)
SELECT t.id, p_identity, p_role, p_status, t.epoch, nextval('control.membership_seq')
FROM control.tenants AS t
WHERE t.id = control.current_tenant()
ON CONFLICT (tenant_id, identity_id) DO UPDATE SET role   = EXCLUDED.role,
                                                   status = EXCLUDED.status,
                                                   epoch  = EXCLUDED.epoch,
                                                   seq    = EXCLUDED.seq
RETURNING true
$$;

GRANT EXECUTE ON FUNCTION control.await_membership(uuid, text, text) TO bulkhead_tenants;

-- Where the tenant is not at home, the person is made before the tenant lets them in.
GRANT EXECUTE ON FUNCTION control.create_invited_identity(text, text, text, text, timestamptz) TO bulkhead_control;
