-- Processes ask every second which sessions ended, so that they can serve tenants of other clusters without home
-- (docs/adr/0021).
CREATE INDEX sessions_revoked_idx ON control.sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX identities_disabled_idx ON control.identities (id) WHERE status <> 'active';
