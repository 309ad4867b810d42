-- Makes the person who was invited and is nobody yet, in the transaction of the tenant that lets them in. The link in the
-- mail has shown that the address is theirs, so it is verified. NULL where somebody has the address: nothing of theirs is
-- touched or told. The id is random, so that it tells no time.
CREATE FUNCTION control.create_invited_identity(p_email text, p_password_hash text, p_first_name text, p_last_name text,
                                                p_now timestamptz) RETURNS uuid
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS
$$
INSERT INTO control.identities (id, email, password_hash, first_name, last_name, email_verified_at, created_at, updated_at)
VALUES (gen_random_uuid(), p_email, p_password_hash, p_first_name, p_last_name, p_now, p_now, p_now)
ON CONFLICT (email) DO NOTHING
RETURNING id
$$;

GRANT EXECUTE ON FUNCTION control.create_invited_identity(text, text, text, text, timestamptz) TO bulkhead_tenants;
