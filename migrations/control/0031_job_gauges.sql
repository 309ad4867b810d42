-- How many jobs of each kind there are in each state, for the gauges of all workers: whoever finds it too old counts anew.
CREATE TABLE control.job_gauges
(
    is_only    boolean     NOT NULL DEFAULT true,
    counted_at timestamptz NOT NULL,
    body       jsonb       NOT NULL,
    CONSTRAINT job_gauges_pkey PRIMARY KEY (is_only),
    CONSTRAINT job_gauges_only_check CHECK (is_only)
);

INSERT INTO control.job_gauges (counted_at, body)
VALUES ('-infinity', '[]');

GRANT SELECT, UPDATE ON control.job_gauges TO bulkhead_control;

CREATE INDEX jobs_depth_idx ON control.jobs (kind, is_parked, is_due, run_at) WHERE state = 'queued';
