//! The one table of problem codes. Stable: a code is never renamed or reused (docs/problems.md lists them all).

/// What sort of failure it is; decides the HTTP status and whether a job is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request cannot be read at all.
    Malformed,
    /// The request is read but breaks a rule.
    Invalid,
    /// Nobody is signed in, or not any more.
    Unauthenticated,
    /// Somebody is, but may not do this.
    Forbidden,
    /// There is no such thing, or none that the caller may know of.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The state of the thing stands against it.
    Conflict,
    /// It was there and will not come back.
    Gone,
    /// It is no longer as the caller last saw it.
    PreconditionFailed,
    /// More than we take.
    TooLarge,
    /// A part that the thing does not have.
    OutOfRange,
    /// A media type we do not speak.
    UnsupportedMedia,
    /// The caller was too slow.
    TimedOut,
    /// The plan's total is used up.
    QuotaReached,
    /// Too often; later it will pass.
    RateLimited,
    /// We are in trouble; later it will pass.
    Unavailable,
    /// Our own fault.
    Internal,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $kind:ident, $title:literal;)*) => {
        /// A stable problem code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it goes over the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What sort of failure it is.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }

            /// One sentence for a person; the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    MalformedJson = "malformed_json", Malformed, "The body is not valid JSON.";
    MalformedRequest = "malformed_request", Malformed, "The request cannot be read.";
    TenantRequired = "tenant_required", Malformed, "This call needs a tenant: sign in to one, or name it in X-Org-ID.";
    TenantMalformed = "tenant_malformed", Malformed, "X-Org-ID is neither a tenant id nor a slug.";
    Validation = "validation", Invalid, "The request breaks a rule; see errors.";
    TemplateUnavailable = "template_unavailable", Invalid, "There is no such template to build from.";
    BelowTemplateMinimum = "below_template_minimum", Invalid, "The machine is smaller than its template needs.";
    SourceUnsupported = "source_unsupported", Invalid, "Machines cannot be built from this source here.";
    ArchiveInvalid = "archive_invalid", Invalid, "This is not a whole archive of a tenant.";
    ArchiveVersionNotServed = "archive_version_not_served", Invalid, "The archive has a schema version that is not taken here.";
    LinkInvalid = "link_invalid", Invalid, "The link is not valid, or not any more.";
    IdempotencyKeyReused = "idempotency_key_reused", Invalid, "This Idempotency-Key was used with another request.";
    Unauthenticated = "unauthenticated", Unauthenticated, "Sign in first.";
    TokenInvalid = "token_invalid", Unauthenticated, "The access token is not valid.";
    TokenExpired = "token_expired", Unauthenticated, "The access token has expired.";
    SessionEnded = "session_ended", Unauthenticated, "The session has ended; sign in again.";
    ApiKeyInvalid = "api_key_invalid", Unauthenticated, "The API key is not valid.";
    CredentialsInvalid = "credentials_invalid", Unauthenticated, "The e-mail address or the password is wrong.";
    RefreshTokenInvalid = "refresh_token_invalid", Unauthenticated, "The refresh token is not valid.";
    EmailUnverified = "email_unverified", Forbidden, "Verify the e-mail address first.";
    Forbidden = "forbidden", Forbidden, "You lack the permission for this.";
    ApiKeyNotAllowed = "api_key_not_allowed", Forbidden, "This call is for people who are signed in; an API key cannot make it.";
    AddressNotAllowed = "address_not_allowed", Forbidden, "The API key may not be used from this address.";
    TenantMismatch = "tenant_mismatch", Forbidden, "The token belongs to another tenant.";
    TenantNotActive = "tenant_not_active", Forbidden, "The tenant is not active.";
    TenantReadOnly = "tenant_read_only", Forbidden, "The tenant is suspended: it can be read, not changed.";
    InvitationEmailMismatch = "invitation_email_mismatch", Forbidden, "The invitation is for another e-mail address.";
    QuotaExceeded = "quota_exceeded", QuotaReached, "The quota is used up.";
    NotFound = "not_found", NotFound, "There is no such thing.";
    TenantNotFound = "tenant_not_found", NotFound, "There is no such tenant.";
    InvitationInvalid = "invitation_invalid", NotFound, "This invitation cannot be used.";
    MethodNotAllowed = "method_not_allowed", MethodNotAllowed, "This path does not know this method.";
    SlugTaken = "slug_taken", Conflict, "The slug is taken.";
    TenantStateConflict = "tenant_state_conflict", Conflict, "The tenant's state does not allow this.";
    NameTaken = "name_taken", Conflict, "The name is taken.";
    AlreadyMember = "already_member", Conflict, "This person is a member already.";
    MemberUnlinked = "member_unlinked", Conflict, "Nobody here is known to be this member.";
    LastOwner = "last_owner", Conflict, "The tenant would be left without an active owner.";
    SystemRole = "system_role", Conflict, "Roles of the system cannot be changed.";
    RoleAssigned = "role_assigned", Conflict, "The role is still assigned.";
    AlreadyInvited = "already_invited", Conflict, "There is a pending invitation for this address.";
    InvitationClosed = "invitation_closed", Conflict, "The invitation is not pending any more.";
    InvitationRoleGone = "invitation_role_gone", Conflict, "A role of the invitation does not exist any more.";
    InvitationNotBacked = "invitation_not_backed", Conflict, "Whoever invited may not give these roles any more.";
    AccountExists = "account_exists", Conflict, "There is an account with this address; sign in to accept.";
    IdempotencyInProgress = "idempotency_in_progress", Conflict, "The same request is still running.";
    ExportInProgress = "export_in_progress", Conflict, "The tenant is being exported already.";
    ExportNotReady = "export_not_ready", Conflict, "The archive is not ready.";
    DeletionProtected = "deletion_protected", Conflict, "The machine is protected against deletion.";
    VmDeleting = "vm_deleting", Conflict, "The machine is being deleted.";
    ApiKeyRevoked = "api_key_revoked", Conflict, "The API key is revoked.";
    ApiKeyNotRepeatable = "api_key_not_repeatable", Conflict, "The API key was made and cannot be shown again.";
    WebhookDisabled = "webhook_disabled", Conflict, "The webhook is disabled.";
    OperatorExists = "operator_exists", Conflict, "This person is an operator already, active or not.";
    OperatorOneself = "operator_oneself", Conflict, "Operators do not deactivate themselves; so one is always left.";
    JobState = "job_state", Conflict, "The job is in a state that does not allow this.";
    JobDuplicate = "job_duplicate", Conflict, "A job that does the same waits or runs already.";
    DoctorBusy = "doctor_busy", Conflict, "An examination is already under way.";
    MigrationUnderWay = "migration_under_way", Conflict, "Another migration of the fleet is open.";
    MigrationState = "migration_state", Conflict, "The migration is in a state that does not allow this.";
    PreconditionFailed = "precondition_failed", PreconditionFailed, "It has changed since you last saw it.";
    InvitationExpired = "invitation_expired", Gone, "The invitation has expired; ask for a new one.";
    InvitationRevoked = "invitation_revoked", Gone, "The invitation was revoked.";
    InvitationUsed = "invitation_used", Gone, "The invitation was accepted before.";
    BodyTooLarge = "body_too_large", TooLarge, "The body is larger than 1 MiB.";
    ArchiveTooLarge = "archive_too_large", TooLarge, "The archive is larger than what is taken here.";
    RangeNotSatisfiable = "range_not_satisfiable", OutOfRange, "The archive has no such part.";
    UnsupportedMediaType = "unsupported_media_type", UnsupportedMedia, "The body has a media type this call does not take.";
    RequestTimeout = "request_timeout", TimedOut, "The request did not arrive in time.";
    RateLimited = "rate_limited", RateLimited, "Too many requests.";
    Overloaded = "overloaded", Unavailable, "The service has more to do than it can; try again shortly.";
    TenantVersionNotServed = "tenant_version_not_served", Unavailable, "The tenant is being moved to another version; try again shortly.";
    TenantMoving = "tenant_moving", Unavailable, "The tenant is being moved and can only be read; try again shortly.";
    MoveUnderWay = "move_under_way", Conflict, "The tenant is being moved already.";
    ClusterFull = "cluster_full", Conflict, "There is no room for another tenant.";
    MoveState = "move_state", Conflict, "The move is in a state that does not allow this.";
    DatabaseUnavailable = "database_unavailable", Unavailable, "The database does not answer; try again shortly.";
    Internal = "internal", Internal, "Something went wrong on our side.";
}
