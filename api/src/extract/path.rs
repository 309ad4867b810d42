//! Ids in a path.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use bulkhead_iam::permissions::Permission;
use bulkhead_jobs::schedules::ScheduleName;
use bulkhead_kernel::{
    fault::Code,
    ids::{
        ApiKeyId, ExportId, IdentityId, ImportId, InvitationId, JobId, MessageId, MigrationRunId, MoveId, ReceiptId,
        ResourceId, RoleId, SessionId, SupportAccessId, TenantId, VmId, WebhookId,
    },
};

use crate::problem::Problem;

/// The id of a path with one parameter. What is no id of that kind is a thing that does not exist: the same 404.
#[derive(Debug)]
pub struct PathId<T>(pub T);

/// A thing with an id in a path.
pub trait Thing: FromStr {
    /// What a missing one is answered with.
    const MISSING: Code;
}

impl Thing for TenantId {
    const MISSING: Code = Code::TenantNotFound;
}

impl Thing for ReceiptId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for SessionId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for InvitationId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for SupportAccessId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for ApiKeyId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for VmId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for ResourceId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for WebhookId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for JobId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for MessageId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for MigrationRunId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for MoveId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for ExportId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for ImportId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for IdentityId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for RoleId {
    const MISSING: Code = Code::NotFound;
}

impl Thing for ScheduleName {
    const MISSING: Code = Code::NotFound;
}

impl Thing for PermissionId {
    const MISSING: Code = Code::NotFound;
}

/// A permission by its id, such as `vm:read`.
#[derive(Debug)]
pub struct PermissionId(pub Permission);

impl FromStr for PermissionId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Permission::find(text).map(Self).ok_or(())
    }
}

impl<T: Thing, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(|| Problem::new(T::MISSING))
    }
}

/// The ids of a path with two parameters, as [`PathId`].
#[derive(Debug)]
pub struct PathIds<A, B>(pub A, pub B);

impl<A: Thing, B: Thing, S: Send + Sync> FromRequestParts<S> for PathIds<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((outer, inner))) = texts else {
            return Err(Problem::new(A::MISSING));
        };
        let outer = outer.parse().map_err(|_| Problem::new(A::MISSING))?;
        let inner = inner.parse().map_err(|_| Problem::new(B::MISSING))?;
        Ok(Self(outer, inner))
    }
}

/// The ids of a path with three parameters, as [`PathId`].
#[derive(Debug)]
pub struct PathIds3<A, B, C>(pub A, pub B, pub C);

impl<A: Thing, B: Thing, C: Thing, S: Send + Sync> FromRequestParts<S> for PathIds3<A, B, C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((outer, middle, inner))) = texts else {
            return Err(Problem::new(A::MISSING));
        };
        let outer = outer.parse().map_err(|_| Problem::new(A::MISSING))?;
        let middle = middle.parse().map_err(|_| Problem::new(B::MISSING))?;
        let inner = inner.parse().map_err(|_| Problem::new(C::MISSING))?;
        Ok(Self(outer, middle, inner))
    }
}
