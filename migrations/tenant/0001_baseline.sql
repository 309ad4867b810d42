-- The whole schema of a tenant. New tenants run this one script in one transaction; search_path is the tenant's schema.
-- No types, no sequences, no SELECT *: one statement text must mean the same in every tenant (migrations/README.md).

CREATE TABLE members
(
    identity_id uuid        NOT NULL,
    email       text        NOT NULL,
    first_name  text        NOT NULL,
    last_name   text        NOT NULL,
    status      text        NOT NULL DEFAULT 'active',
    -- Rises with every change of the names, the status or the roles; the ETag.
    version     bigint      NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT members_pkey PRIMARY KEY (identity_id),
    CONSTRAINT members_email_key UNIQUE (email),
    CONSTRAINT members_status_check CHECK (status IN ('active', 'inactive'))
);

CREATE TABLE roles
(
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    description text        NOT NULL,
    is_system   boolean     NOT NULL,
    -- Rises with every change of the name, the description or the permissions; the ETag.
    version     bigint      NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roles_pkey PRIMARY KEY (id),
    CONSTRAINT roles_name_check CHECK (length(name) BETWEEN 1 AND 50)
);

-- Nobody shall be fooled by an "Owner" beside the owner.
CREATE UNIQUE INDEX roles_name_key ON roles (lower(name));

CREATE TABLE role_permissions
(
    role_id    uuid NOT NULL,
    permission text NOT NULL,
    CONSTRAINT role_permissions_pkey PRIMARY KEY (role_id, permission),
    CONSTRAINT role_permissions_permission_check CHECK (permission ~ '^[a-z_]+:[a-z_]+$'),
    CONSTRAINT role_permissions_role_fkey FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE
);

CREATE TABLE member_roles
(
    identity_id uuid        NOT NULL,
    role_id     uuid        NOT NULL,
    granted_at  timestamptz NOT NULL DEFAULT now(),
    granted_by  uuid,
    CONSTRAINT member_roles_pkey PRIMARY KEY (identity_id, role_id),
    CONSTRAINT member_roles_member_fkey FOREIGN KEY (identity_id) REFERENCES members (identity_id) ON DELETE CASCADE,
    CONSTRAINT member_roles_role_fkey FOREIGN KEY (role_id) REFERENCES roles (id)
);

CREATE INDEX member_roles_role_idx ON member_roles (role_id);

CREATE TABLE idempotency_keys
(
    principal    text        NOT NULL,
    route        text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    status       smallint    NOT NULL,
    location     text,
    body         jsonb       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, route, key)
);

CREATE TABLE vms
(
    id                    uuid        NOT NULL,
    name                  text        NOT NULL,
    source_type           text        NOT NULL,
    template_id           uuid,
    template_name         text,
    template_version      integer,
    iso_url               text,
    cpu                   integer     NOT NULL,
    memory_gb             integer     NOT NULL,
    disk_gb               integer     NOT NULL,
    is_auto_restarted     boolean     NOT NULL DEFAULT false,
    is_deletion_protected boolean     NOT NULL DEFAULT false,
    desired               text        NOT NULL DEFAULT 'running',
    desired_gen           bigint      NOT NULL DEFAULT 1,
    applied_gen           bigint      NOT NULL DEFAULT 0,
    phase                 text        NOT NULL DEFAULT 'REQUESTED',
    -- The public status: what stays shown while something is under way.
    last_stable           text        NOT NULL DEFAULT 'PROVISIONING',
    fault                 text,
    -- {code, message, step, at} of the last failure, kept until the next success.
    last_error            jsonb,
    -- {existence, power, cause, at, revision} as the provider last said; {} until it was asked.
    observed              jsonb       NOT NULL DEFAULT '{}',
    conditions            jsonb       NOT NULL DEFAULT '[]',
    -- Rises only when the previous machine is proved absent; the provider knows the machine by id and incarnation.
    incarnation           integer     NOT NULL DEFAULT 1,
    -- Chosen by the plan, which is made once per incarnation and used by every retry.
    provider              text,
    plan                  jsonb,
    provider_ref          text,
    ip_address            text,
    version               bigint      NOT NULL DEFAULT 1,
    created_by            text        NOT NULL,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    deleted_at            timestamptz,
    CONSTRAINT vms_pkey PRIMARY KEY (id),
    CONSTRAINT vms_name_check CHECK (length(name) BETWEEN 1 AND 63),
    CONSTRAINT vms_source_check CHECK ((source_type = 'template' AND template_id IS NOT NULL AND iso_url IS NULL)
        OR (source_type = 'iso' AND iso_url IS NOT NULL AND template_id IS NULL)),
    CONSTRAINT vms_template_check CHECK ((template_id IS NULL) = (template_name IS NULL)
        AND (template_id IS NULL) = (template_version IS NULL)),
    CONSTRAINT vms_size_check CHECK (cpu > 0 AND memory_gb > 0 AND disk_gb > 0),
    CONSTRAINT vms_desired_check CHECK (desired IN ('running', 'stopped', 'deleted')),
    CONSTRAINT vms_gen_check CHECK (applied_gen <= desired_gen),
    CONSTRAINT vms_plan_check CHECK ((provider IS NULL) = (plan IS NULL)),
    CONSTRAINT vms_phase_check CHECK (phase IN ('REQUESTED', 'PROVISIONING', 'STARTING', 'RUNNING', 'STOPPING',
                                                'STOPPED', 'RESTARTING', 'DELETING', 'DELETED', 'ERROR')),
    CONSTRAINT vms_last_stable_check CHECK (CASE
        WHEN phase IN ('REQUESTED', 'PROVISIONING') THEN last_stable = 'PROVISIONING'
        WHEN phase = 'STARTING' THEN last_stable IN ('PROVISIONING', 'STOPPED')
        WHEN phase IN ('RUNNING', 'STOPPING', 'RESTARTING') THEN last_stable = 'RUNNING'
        WHEN phase = 'STOPPED' THEN last_stable = 'STOPPED'
        WHEN phase = 'ERROR' THEN last_stable = 'ERROR'
        ELSE last_stable IN ('PROVISIONING', 'RUNNING', 'STOPPED', 'ERROR') END),
    CONSTRAINT vms_fault_check CHECK ((phase = 'ERROR') = (fault IS NOT NULL)
        AND (fault IS NULL OR fault IN ('create_failed', 'crashed', 'lost', 'indeterminate'))),
    CONSTRAINT vms_deleted_check CHECK ((phase = 'DELETED') = (deleted_at IS NOT NULL))
);

-- A name is free again once its machine is gone.
CREATE UNIQUE INDEX vms_name_key ON vms (lower(name)) WHERE phase <> 'DELETED';
CREATE INDEX vms_list_idx ON vms (created_at DESC, id DESC) WHERE phase <> 'DELETED';

-- An unlisted change of phase is refused even when it comes as raw SQL. The list is the one in compute's vms/phase.rs;
-- a test compares them.
CREATE FUNCTION check_vm_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.phase <> 'REQUESTED' THEN
            RAISE EXCEPTION 'a vm begins as REQUESTED, not as %', NEW.phase
                USING ERRCODE = 'check_violation', CONSTRAINT = 'vms_transition_check';
        END IF;
    ELSIF NEW.phase <> OLD.phase AND OLD.phase || ' > ' || NEW.phase NOT IN (
                        'REQUESTED > PROVISIONING',
                        'REQUESTED > DELETING',
                        'PROVISIONING > STARTING',
                        'PROVISIONING > STOPPED',
                        'PROVISIONING > ERROR',
                        'PROVISIONING > DELETING',
                        'STARTING > RUNNING',
                        'STARTING > STOPPED',
                        'STARTING > ERROR',
                        'STARTING > DELETING',
                        'RUNNING > STARTING',
                        'RUNNING > STOPPING',
                        'RUNNING > STOPPED',
                        'RUNNING > RESTARTING',
                        'RUNNING > ERROR',
                        'RUNNING > DELETING',
                        'STOPPING > RUNNING',
                        'STOPPING > STOPPED',
                        'STOPPING > ERROR',
                        'STOPPING > DELETING',
                        'STOPPED > STARTING',
                        'STOPPED > RUNNING',
                        'STOPPED > ERROR',
                        'STOPPED > DELETING',
                        'RESTARTING > RUNNING',
                        'RESTARTING > STOPPED',
                        'RESTARTING > ERROR',
                        'RESTARTING > DELETING',
                        'ERROR > STARTING',
                        'ERROR > RUNNING',
                        'ERROR > STOPPED',
                        'ERROR > DELETING',
                        'DELETING > DELETED')
    THEN
        RAISE EXCEPTION 'a vm cannot go from % to %', OLD.phase, NEW.phase
            USING ERRCODE = 'check_violation', CONSTRAINT = 'vms_transition_check';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER vms_transition
    BEFORE INSERT OR UPDATE OF phase
    ON vms
    FOR EACH ROW
EXECUTE FUNCTION check_vm_transition();

CREATE TABLE vm_operations
(
    id            uuid        NOT NULL,
    vm_id         uuid        NOT NULL,
    kind          text        NOT NULL,
    target_gen    bigint      NOT NULL,
    state         text        NOT NULL DEFAULT 'pending',
    -- Which list of steps this operation walks; a worker that does not know it leaves the operation alone.
    steps_version smallint    NOT NULL DEFAULT 1,
    step          text,
    steps_done    integer     NOT NULL DEFAULT 0,
    steps_total   integer     NOT NULL DEFAULT 0,
    percent       smallint,
    attempts      integer     NOT NULL DEFAULT 0,
    -- {code, message, step, provider_code}; set before the end while a failed create is being cleaned up.
    error         jsonb,
    principal     text        NOT NULL,
    request_id    text        NOT NULL,
    traceparent   text,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    deadline_at   timestamptz,
    finished_at   timestamptz,
    CONSTRAINT vm_operations_pkey PRIMARY KEY (id),
    CONSTRAINT vm_operations_vm_fkey FOREIGN KEY (vm_id) REFERENCES vms (id) ON DELETE CASCADE,
    CONSTRAINT vm_operations_kind_check CHECK (kind IN ('create', 'start', 'stop', 'restart', 'delete', 'recreate')),
    CONSTRAINT vm_operations_state_check CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'superseded')),
    CONSTRAINT vm_operations_started_check CHECK (state <> 'running' OR started_at IS NOT NULL),
    CONSTRAINT vm_operations_finished_check CHECK ((state IN ('pending', 'running')) = (finished_at IS NULL)),
    CONSTRAINT vm_operations_error_check CHECK (state <> 'failed' OR error IS NOT NULL),
    CONSTRAINT vm_operations_steps_check CHECK (steps_done BETWEEN 0 AND steps_total),
    CONSTRAINT vm_operations_percent_check CHECK (percent BETWEEN 0 AND 100)
);

-- One running operation and one pending operation per VM at the most.
CREATE UNIQUE INDEX vm_operations_live_key ON vm_operations (vm_id, state) WHERE state IN ('pending', 'running');
CREATE INDEX vm_operations_vm_idx ON vm_operations (vm_id, created_at);

-- Write-ahead: the intent row commits before the provider is called, the result after.
CREATE TABLE vm_operation_steps
(
    operation_id uuid        NOT NULL,
    position     smallint    NOT NULL,
    name         text        NOT NULL,
    state        text        NOT NULL DEFAULT 'intent',
    attempts     integer     NOT NULL DEFAULT 1,
    lease_epoch  bigint      NOT NULL,
    -- The provider's own handle of what it is doing for us; stored before anybody waits for it.
    task_ref     text,
    result       jsonb,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    CONSTRAINT vm_operation_steps_pkey PRIMARY KEY (operation_id, position),
    CONSTRAINT vm_operation_steps_operation_fkey FOREIGN KEY (operation_id) REFERENCES vm_operations (id) ON DELETE CASCADE,
    CONSTRAINT vm_operation_steps_state_check CHECK (state IN ('intent', 'waiting', 'done', 'failed')),
    CONSTRAINT vm_operation_steps_waiting_check CHECK (state <> 'waiting' OR task_ref IS NOT NULL),
    CONSTRAINT vm_operation_steps_finished_check CHECK ((state IN ('done', 'failed')) = (finished_at IS NOT NULL))
);

-- The timeline: append-only, gap-free per VM. Logs, events, webhooks and metering all read from it.
CREATE TABLE vm_events
(
    vm_id        uuid        NOT NULL,
    seq          bigint      NOT NULL,
    at           timestamptz NOT NULL,
    level        text        NOT NULL,
    code         text        NOT NULL,
    message      text        NOT NULL,
    -- The phase after the change.
    phase        text        NOT NULL,
    principal    text        NOT NULL,
    operation_id uuid,
    request_id   text        NOT NULL,
    CONSTRAINT vm_events_pkey PRIMARY KEY (vm_id, seq),
    CONSTRAINT vm_events_vm_fkey FOREIGN KEY (vm_id) REFERENCES vms (id) ON DELETE CASCADE,
    CONSTRAINT vm_events_seq_check CHECK (seq > 0),
    CONSTRAINT vm_events_level_check CHECK (level IN ('info', 'warning', 'error'))
);

-- What a VM holds of the tenant's quota: the row exists or it does not, so nothing is charged twice.
CREATE TABLE vm_allocations
(
    vm_id      uuid        NOT NULL,
    cpu        integer     NOT NULL,
    memory_gb  integer     NOT NULL,
    disk_gb    integer     NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT vm_allocations_pkey PRIMARY KEY (vm_id),
    CONSTRAINT vm_allocations_vm_fkey FOREIGN KEY (vm_id) REFERENCES vms (id) ON DELETE CASCADE
);

-- Intervals of billable use; the open one has no end yet. Quantity is vCPU for compute, GB for memory and disk.
CREATE TABLE vm_usage_segments
(
    id         uuid        NOT NULL,
    vm_id      uuid        NOT NULL,
    meter      text        NOT NULL,
    quantity   integer     NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    CONSTRAINT vm_usage_segments_pkey PRIMARY KEY (id),
    CONSTRAINT vm_usage_segments_vm_fkey FOREIGN KEY (vm_id) REFERENCES vms (id) ON DELETE CASCADE,
    CONSTRAINT vm_usage_segments_meter_check CHECK (meter IN ('compute', 'memory', 'disk')),
    CONSTRAINT vm_usage_segments_quantity_check CHECK (quantity > 0),
    CONSTRAINT vm_usage_segments_order_check CHECK (ended_at IS NULL OR ended_at >= started_at)
);

CREATE UNIQUE INDEX vm_usage_segments_open_key ON vm_usage_segments (vm_id, meter) WHERE ended_at IS NULL;

-- Who did what: append-only, written in the transaction of the change.
CREATE TABLE audit_events
(
    id          uuid        NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- noun.verb
    action      text        NOT NULL,
    outcome     text        NOT NULL,
    actor_kind  text        NOT NULL,
    -- As the API shows it; empty for the system.
    actor_id    text        NOT NULL,
    -- [{kind, id}]
    targets     jsonb       NOT NULL,
    -- {field: {before, after}} without secrets
    changes     jsonb       NOT NULL,
    request_id  text        NOT NULL,
    address     text,
    agent       text,
    -- Given by the worker that seals (docs/adr/0015): the place in the tenant's chain, the hash before, and this one's.
    seq         bigint,
    prev_hash   bytea,
    hash        bytea,
    CONSTRAINT audit_events_pkey PRIMARY KEY (id),
    CONSTRAINT audit_events_seq_key UNIQUE (seq),
    CONSTRAINT audit_events_seal_check CHECK ((seq IS NULL) = (hash IS NULL) AND (seq IS NULL) = (prev_hash IS NULL)
        AND length(hash) = 32 AND length(prev_hash) = 32),
    CONSTRAINT audit_events_action_check CHECK (action ~ '^[a-z_]+[.][a-z_]+$'),
    CONSTRAINT audit_events_outcome_check CHECK (outcome IN ('done', 'refused')),
    CONSTRAINT audit_events_actor_check CHECK (actor_kind IN ('member', 'api_key', 'operator', 'system'))
);

CREATE INDEX audit_events_occurred_idx ON audit_events (occurred_at DESC, id DESC);
CREATE INDEX audit_events_unsealed_idx ON audit_events (occurred_at, id) WHERE seq IS NULL;

-- Nobody seals what they write themselves.
CREATE FUNCTION begin_unsealed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS
$$
BEGIN
    NEW.seq := NULL;
    NEW.prev_hash := NULL;
    NEW.hash := NULL;
    RETURN NEW;
END
$$;

CREATE TRIGGER audit_events_sealing
    BEFORE INSERT
    ON audit_events
    FOR EACH ROW
EXECUTE FUNCTION begin_unsealed();

-- Invitations: who follows the link in the mail becomes a member with these roles.
CREATE TABLE invitations
(
    id            uuid        NOT NULL,
    email         text        NOT NULL,
    -- One whose time is over is shown as expired by expires_at; it is written down only where a newer one takes its place.
    state         text        NOT NULL DEFAULT 'pending',
    -- Rises with every change; the ETag.
    version       bigint      NOT NULL DEFAULT 1,
    -- Rises with every resend: what an older mail carries is worth nothing.
    generation    integer     NOT NULL DEFAULT 1,
    -- Of the secrets that the mail of this generation went out with: one, or more where it went out more than once.
    secret_hashes bytea[]     NOT NULL DEFAULT '{}',
    invited_by    uuid        NOT NULL,
    -- By whose rights the roles are judged when it is accepted: who last made, changed or resent it.
    granted_by    uuid        NOT NULL,
    accepted_by   uuid,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    closed_at     timestamptz,
    CONSTRAINT invitations_pkey PRIMARY KEY (id),
    CONSTRAINT invitations_email_check CHECK (email = lower(email) AND octet_length(email) <= 254),
    CONSTRAINT invitations_state_check CHECK (state IN ('pending', 'accepted', 'revoked', 'expired')),
    CONSTRAINT invitations_closed_check CHECK ((state = 'pending') = (closed_at IS NULL)
        AND (state = 'accepted') = (accepted_by IS NOT NULL))
);

CREATE UNIQUE INDEX invitations_pending_key ON invitations (email) WHERE state = 'pending';
CREATE INDEX invitations_list_idx ON invitations (created_at DESC, id DESC);

-- A role that is deleted leaves its id here: the invitation then fails, where one role fewer would go unnoticed.
CREATE TABLE invitation_roles
(
    invitation_id uuid NOT NULL,
    role_id       uuid NOT NULL,
    CONSTRAINT invitation_roles_pkey PRIMARY KEY (invitation_id, role_id),
    CONSTRAINT invitation_roles_invitation_fkey FOREIGN KEY (invitation_id) REFERENCES invitations (id) ON DELETE CASCADE
);

-- API keys. The text of one names its tenant and itself; of its secret there is the SHA-256 alone.
CREATE TABLE api_keys
(
    id                uuid        NOT NULL,
    owner_kind        text        NOT NULL,
    -- Of a member's key. It goes with the member, and a key without it never works again, also when they come back.
    owner_id          uuid,
    name              text        NOT NULL,
    -- The last characters of the text, by which people recognise it.
    hint              text        NOT NULL,
    secret_hash       bytea       NOT NULL,
    -- What it was rotated from, for as long as both work.
    previous_hash     bytea,
    previous_until    timestamptz,
    scopes            text[]      NOT NULL,
    -- Networks; none means from everywhere.
    allowed_addresses text[]      NOT NULL DEFAULT '{}',
    expires_at        timestamptz,
    last_used_at      timestamptz,
    revoked_at        timestamptz,
    revoked_reason    text,
    created_by        uuid        NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    version           bigint      NOT NULL DEFAULT 1,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    -- Ids of members change when an archive is imported.
    CONSTRAINT api_keys_owner_fkey FOREIGN KEY (owner_id) REFERENCES members (identity_id) ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT api_keys_owner_check CHECK (owner_kind IN ('member', 'tenant') AND (owner_kind = 'member' OR owner_id IS NULL)),
    CONSTRAINT api_keys_name_check CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_hash_check CHECK (length(secret_hash) = 32 AND length(previous_hash) = 32),
    CONSTRAINT api_keys_previous_check CHECK ((previous_hash IS NULL) = (previous_until IS NULL)),
    CONSTRAINT api_keys_revoked_check CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL)),
    CONSTRAINT api_keys_reason_check CHECK (revoked_reason IN ('revoked', 'leaked', 'imported'))
);

CREATE INDEX api_keys_list_idx ON api_keys (created_at DESC, id DESC);
CREATE INDEX api_keys_owner_idx ON api_keys (owner_id);

-- A thing of the tenant's own: the slice that adopters copy for theirs (CONTRIBUTING.md).
CREATE TABLE resources
(
    id         uuid        NOT NULL,
    type       text        NOT NULL,
    name       text        NOT NULL,
    attributes jsonb       NOT NULL,
    version    bigint      NOT NULL DEFAULT 1,
    created_by text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT resources_pkey PRIMARY KEY (id),
    CONSTRAINT resources_type_check CHECK (type ~ '^[a-z][a-z0-9_]{0,49}$'),
    CONSTRAINT resources_name_check CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT resources_attributes_check CHECK (jsonb_typeof(attributes) = 'object')
);

-- Two things of one type are told apart by their names, whatever the case.
CREATE UNIQUE INDEX resources_name_key ON resources (type, lower(name));
CREATE INDEX resources_list_idx ON resources (created_at DESC, id DESC);

-- Where the tenant wants to be told of events (docs/webhooks.md).
CREATE TABLE webhooks
(
    id              uuid        NOT NULL,
    url             text        NOT NULL,
    description     text        NOT NULL,
    -- None means all there are, also those to come.
    event_types     text[]      NOT NULL,
    is_enabled      boolean     NOT NULL,
    -- Of one that is not enabled.
    disabled_reason text,
    -- What signs, wrapped under a key that is not in the database and bound to this tenant and row.
    secret          bytea,
    -- What it was rotated from, for as long as both sign.
    previous_secret bytea,
    previous_until  timestamptz,
    -- Since when nothing but failures came.
    failing_since   timestamptz,
    version         bigint      NOT NULL DEFAULT 1,
    created_by      text        NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CONSTRAINT webhooks_pkey PRIMARY KEY (id),
    CONSTRAINT webhooks_url_check CHECK (octet_length(url) BETWEEN 1 AND 2048),
    CONSTRAINT webhooks_description_check CHECK (length(description) <= 200),
    CONSTRAINT webhooks_disabled_check CHECK (is_enabled = (disabled_reason IS NULL)),
    CONSTRAINT webhooks_reason_check CHECK (disabled_reason IN ('disabled', 'failing', 'gone', 'imported')),
    -- What came with an archive has no secret that opens here.
    CONSTRAINT webhooks_secret_check CHECK (secret IS NOT NULL OR NOT is_enabled),
    CONSTRAINT webhooks_previous_check CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);

CREATE INDEX webhooks_list_idx ON webhooks (created_at DESC, id DESC);

-- The outbox: an event that somebody is to be told of, written in the transaction of what happened.
CREATE TABLE webhook_messages
(
    id          uuid        NOT NULL,
    type        text        NOT NULL,
    data        jsonb       NOT NULL,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT webhook_messages_pkey PRIMARY KEY (id)
);

CREATE INDEX webhook_messages_occurred_idx ON webhook_messages (occurred_at);

-- One message on its way to one webhook.
CREATE TABLE webhook_deliveries
(
    webhook_id      uuid        NOT NULL,
    message_id      uuid        NOT NULL,
    state           text        NOT NULL DEFAULT 'pending',
    -- Rises with every replay: the job of an earlier round is over.
    round           integer     NOT NULL DEFAULT 0,
    -- All attempts, and those of this round, which say how long the next wait is.
    n_attempts      integer     NOT NULL DEFAULT 0,
    n_tries         integer     NOT NULL DEFAULT 0,
    -- Of one that is pending.
    next_attempt_at timestamptz,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (webhook_id, message_id),
    CONSTRAINT webhook_deliveries_webhook_fkey FOREIGN KEY (webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE,
    CONSTRAINT webhook_deliveries_message_fkey FOREIGN KEY (message_id) REFERENCES webhook_messages (id) ON DELETE CASCADE,
    CONSTRAINT webhook_deliveries_state_check CHECK (state IN ('pending', 'succeeded', 'failed')),
    CONSTRAINT webhook_deliveries_next_check CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT webhook_deliveries_finished_check CHECK ((state = 'pending') = (finished_at IS NULL)),
    CONSTRAINT webhook_deliveries_count_check CHECK (n_tries BETWEEN 0 AND n_attempts)
);

CREATE INDEX webhook_deliveries_list_idx ON webhook_deliveries (webhook_id, created_at DESC, message_id DESC);
CREATE INDEX webhook_deliveries_message_idx ON webhook_deliveries (message_id);

CREATE TABLE webhook_attempts
(
    webhook_id  uuid        NOT NULL,
    message_id  uuid        NOT NULL,
    number      integer     NOT NULL,
    started_at  timestamptz NOT NULL,
    duration_ms integer     NOT NULL,
    -- What came back: a status with the beginning of its body, or a word for why there is none.
    status      smallint,
    body        text,
    error       text,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (webhook_id, message_id, number),
    CONSTRAINT webhook_attempts_delivery_fkey FOREIGN KEY (webhook_id, message_id)
        REFERENCES webhook_deliveries (webhook_id, message_id) ON DELETE CASCADE,
    CONSTRAINT webhook_attempts_answer_check CHECK ((status IS NULL) = (error IS NOT NULL)
        AND (status IS NULL) = (body IS NULL)),
    CONSTRAINT webhook_attempts_body_check CHECK (octet_length(body) <= 4096)
);
