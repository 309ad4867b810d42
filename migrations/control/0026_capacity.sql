-- How much of each cluster is used. Home has a row for each; a worker writes it once a minute (docs/scaling.md).
CREATE TABLE control.cluster_use
(
    cluster       text        NOT NULL,
    -- When a worker last set out to measure, so that the others need not.
    looked_at     timestamptz NOT NULL,
    -- When it came back; nothing is known before.
    measured_at   timestamptz,
    n_tenants     bigint      NOT NULL DEFAULT 0,
    n_relations   bigint      NOT NULL DEFAULT 0,
    size_mb       bigint      NOT NULL DEFAULT 0,
    n_connections bigint      NOT NULL DEFAULT 0,
    CONSTRAINT cluster_use_pkey PRIMARY KEY (cluster),
    CONSTRAINT cluster_use_cluster_check CHECK (cluster ~ '^[a-z][a-z0-9_]{0,29}$')
);
