-- Work that comes back by the calendar (docs/schedules.md). Each cluster has schedules of its own; the code's list is
-- brought into this table when a worker starts.
CREATE TABLE control.schedules
(
    name             text        NOT NULL,
    -- Five fields of cron, read in the time zone.
    expression       text        NOT NULL,
    time_zone        text        NOT NULL,
    -- What becomes of ticks that nobody was there for.
    catch_up         text        NOT NULL,
    -- The job of each tick, so that whoever comes first can write it, the API as well.
    kind             text        NOT NULL,
    queue            text        NOT NULL,
    payload          jsonb       NOT NULL,
    priority         smallint    NOT NULL,
    max_attempts     smallint    NOT NULL,
    unique_key       text,
    is_paused        boolean     NOT NULL DEFAULT false,
    -- The newest tick that was enqueued.
    last_tick_at     timestamptz,
    next_tick_at     timestamptz NOT NULL,
    -- The newest job, by a tick or by hand. No foreign key: jobs are kept for a while only.
    last_job_id      uuid,
    last_enqueued_at timestamptz,
    -- Since when the code does not name it any more.
    retired_at       timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedules_pkey PRIMARY KEY (name),
    CONSTRAINT schedules_catch_up_check CHECK (catch_up IN ('skip', 'one', 'all')),
    CONSTRAINT schedules_queue_check CHECK (queue IN ('default', 'provision', 'maintenance'))
);

-- One row for each tick that was enqueued, in the transaction of its job: whoever comes second finds it taken.
CREATE TABLE control.schedule_ticks
(
    schedule   text        NOT NULL,
    tick_at    timestamptz NOT NULL,
    -- NULL where a job of the schedule was still waiting or running, which then does this tick's work.
    job_id     uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedule_ticks_pkey PRIMARY KEY (schedule, tick_at),
    CONSTRAINT schedule_ticks_schedule_fkey FOREIGN KEY (schedule) REFERENCES control.schedules (name) ON DELETE CASCADE
);

-- The workers that live, or did a moment ago, and what they have handlers for.
CREATE TABLE control.job_workers
(
    name         text        NOT NULL,
    version      text        NOT NULL,
    kinds        text[]      NOT NULL,
    concurrency  integer     NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_workers_pkey PRIMARY KEY (name),
    CONSTRAINT job_workers_concurrency_check CHECK (concurrency > 0)
);

-- A job whose kind no living worker has a handler for is parked, and this is why. It is in no index that a claim reads.
ALTER TABLE control.jobs
    ADD COLUMN is_unknown boolean NOT NULL DEFAULT false;

CREATE INDEX jobs_unknown_idx ON control.jobs (kind) WHERE is_unknown;
