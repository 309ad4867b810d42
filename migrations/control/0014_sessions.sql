-- A link in a mail: who has it reads the person's mailbox. Only the hash of its secret is kept; it is gone once used.
CREATE TABLE control.mail_links
(
    secret_hash bytea       NOT NULL,
    identity_id uuid        NOT NULL,
    purpose     text        NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT mail_links_pkey PRIMARY KEY (secret_hash),
    CONSTRAINT mail_links_identity_fkey FOREIGN KEY (identity_id) REFERENCES control.identities (id) ON DELETE CASCADE,
    CONSTRAINT mail_links_hash_check CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT mail_links_purpose_check CHECK (purpose IN ('verify_email', 'reset_password'))
);

CREATE INDEX mail_links_identity_idx ON control.mail_links (identity_id, purpose);
CREATE INDEX mail_links_expires_idx ON control.mail_links (expires_at);

-- A session also ends because its owner ended it from elsewhere or chose another password.
ALTER TABLE control.sessions
    DROP CONSTRAINT sessions_reason_check,
    ADD CONSTRAINT sessions_reason_check
        CHECK (revoked_reason IN ('logout', 'logout_all', 'reuse', 'operator', 'ended', 'password')) NOT VALID;

-- The names of a person, for their copies in the tenants they belong to: a tenant role learns those of its own members.
CREATE FUNCTION control.member_names(p_identity uuid)
    RETURNS TABLE
            (
                first_name text,
                last_name  text
            )
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
SELECT i.first_name, i.last_name
FROM control.identities AS i
         JOIN control.memberships AS m ON m.identity_id = i.id
WHERE i.id = p_identity
  AND m.tenant_id = control.current_tenant()
$$;

GRANT EXECUTE ON FUNCTION control.member_names(uuid) TO bulkhead_tenants;

-- The keys that sign access tokens. A key signs from activates_at until the next one does, and verifies until retires_at,
-- which is set when the next one is announced. Its private half is wrapped (nonce, AES-256-GCM ciphertext and tag, bound
-- to the id) under a key that is not in the database, and removed when it is retired; the public half stays.
CREATE TABLE control.signing_keys
(
    -- The thumbprint (RFC 7638): `kid`.
    id           text        NOT NULL,
    modulus      text        NOT NULL,
    exponent     text        NOT NULL,
    wrapped      bytea,
    announced_at timestamptz NOT NULL,
    activates_at timestamptz NOT NULL,
    retires_at   timestamptz,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (id),
    CONSTRAINT signing_keys_activates_key UNIQUE (activates_at),
    CONSTRAINT signing_keys_retires_check CHECK (retires_at > activates_at),
    CONSTRAINT signing_keys_wrapped_check CHECK (wrapped IS NOT NULL OR retires_at IS NOT NULL)
);
