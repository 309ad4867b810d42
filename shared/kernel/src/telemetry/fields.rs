//! The names of fields in events and spans; OpenTelemetry's semantic names where there is one.
//!
//! In the macros of `tracing` a constant is written in braces: `info!({ fields::OUTCOME } = "done")`.

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $field:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $field;)*

        /// All of them.
        pub const ALL: &[&str] = &[$($name,)*];
    };
}

fields! {
    /// The tenant whose data is touched; a `TenantId`.
    TENANT_ID = "tenant.id";
    /// Who acts; as in `Origin`.
    PRINCIPAL_ID = "principal.id";
    /// The request that all of this goes back to, as answered in `X-Request-ID`.
    REQUEST_ID = "request.id";
    /// How it ended, in one word.
    OUTCOME = "outcome";
    /// The code of the fault, where there is one.
    CODE = "code";
    /// How long all of it took, in milliseconds.
    DURATION_MS = "duration_ms";
    /// How many messages went to the database.
    DB_QUERIES = "db.queries";
    /// How long the database was waited for, in milliseconds.
    DB_MS = "db_ms";
    /// The chain of causes of a failure, for us only.
    ERROR = "error";
    /// `GET`, `POST` and so on.
    HTTP_METHOD = "http.request.method";
    /// The template of the path, such as `/api/v1/vms/{id}`.
    HTTP_ROUTE = "http.route";
    /// The status answered.
    HTTP_STATUS = "http.response.status_code";
    /// The size of the answer's body, in bytes.
    HTTP_RESPONSE_BYTES = "http.response.body.size";
    /// The address the request came from.
    CLIENT_ADDRESS = "client.address";
    /// What the client says it is.
    USER_AGENT = "user_agent.original";
    /// The job; a `JobId`.
    JOB_ID = "job.id";
    /// The kind of the job.
    JOB_KIND = "job.kind";
    /// The queue it waited in.
    JOB_QUEUE = "job.queue";
    /// Which attempt this is, counted from 1.
    JOB_ATTEMPT = "job.attempt";
    /// How long it waited after it was due, in milliseconds.
    JOB_WAIT_MS = "job.wait_ms";
    /// The virtual machine; a `VmId`.
    VM_ID = "vm.id";
    /// The change under way on it; an `OperationId`.
    OPERATION_ID = "operation.id";
    /// The step of a change or of an onboarding.
    STEP = "step";
}
