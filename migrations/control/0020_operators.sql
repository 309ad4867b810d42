-- contract: 0.1.0, which was never released: control.identities.is_operator
-- Those who run the platform: principals of their own, made of identities, members of no tenant. They are deactivated and
-- stay; who was one is part of the record. Which of them may act is read from here in each request.
CREATE TABLE control.operators
(
    identity_id uuid        NOT NULL,
    status      text        NOT NULL DEFAULT 'active',
    -- The operator who made this one; `system` from a terminal.
    created_by  text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT operators_pkey PRIMARY KEY (identity_id),
    CONSTRAINT operators_identity_fkey FOREIGN KEY (identity_id) REFERENCES control.identities (id) ON DELETE RESTRICT,
    CONSTRAINT operators_status_check CHECK (status IN ('active', 'inactive'))
);

INSERT INTO control.operators (identity_id, created_by)
SELECT id, 'system'
FROM control.identities
WHERE is_operator;

ALTER TABLE control.identities
    DROP COLUMN is_operator;

REVOKE DELETE ON control.operators FROM bulkhead_control;

-- What operators did. Outlives the tenants it tells of, which are among the targets. Rows are added and never changed by a
-- login of the product; they are in no chain of hashes, which tenants' logs are (docs/adr/0017).
CREATE TABLE control.platform_events
(
    id          uuid        NOT NULL,
    occurred_at timestamptz NOT NULL,
    action      text        NOT NULL,
    outcome     text        NOT NULL,
    actor_kind  text        NOT NULL,
    actor_id    text        NOT NULL,
    targets     jsonb       NOT NULL,
    changes     jsonb       NOT NULL,
    request_id  text        NOT NULL,
    address     text,
    agent       text,
    CONSTRAINT platform_events_pkey PRIMARY KEY (id),
    CONSTRAINT platform_events_outcome_check CHECK (outcome IN ('done', 'refused'))
);

CREATE INDEX platform_events_time_idx ON control.platform_events (occurred_at DESC, id DESC);
CREATE INDEX platform_events_actor_idx ON control.platform_events (actor_id, occurred_at DESC, id DESC);

REVOKE UPDATE, DELETE ON control.platform_events FROM bulkhead_control;
