//! A tenant and the steps that build it.

use std::str::FromStr;

use bulkhead_kernel::{
    fault::Violation,
    idempotency::IdempotencyKey,
    ids::{JobId, TenantId},
};
use bulkhead_tenancy::Slug;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// What people call the tenant: 1 to 100 characters, none of them a control character, no spaces around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantName(String);

impl TenantName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        let name = text.trim();
        if (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
            Ok(Self(name.into()))
        } else {
            Err(Violation::new(
                "/name",
                "must be 1 to 100 characters, without control characters",
            ))
        }
    }
}

/// A tenant that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// What it is called.
    pub name: TenantName,
    /// The slug, where the founder cares; otherwise one is made from the name.
    pub slug: Option<Slug>,
    /// Under a key the same request makes one tenant, however often it is sent.
    pub key: Option<IdempotencyKey>,
}

impl NewTenant {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(name: &str, slug: Option<&str>, key: Option<&str>) -> Result<Self, Vec<Violation>> {
        let name = name.parse();
        let slug = slug
            .map(str::parse::<Slug>)
            .transpose()
            .map_err(|malformed| Violation::new("/slug", malformed.to_string()));
        let key = key.map(str::parse).transpose();
        match (name, slug, key) {
            (Ok(name), Ok(slug), Ok(key)) => Ok(Self { name, slug, key }),
            (name, slug, key) => Err(name.err().into_iter().chain(slug.err()).chain(key.err()).collect()),
        }
    }

    /// What makes two requests the same.
    pub(crate) fn hash(&self) -> Vec<u8> {
        let slug = self.slug.as_ref().map_or("", Slug::as_str);
        Sha256::digest(format!("{slug}\0{}", self.name.as_str())).to_vec()
    }
}

/// A tenant that will be ready soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: TenantId,
    /// Its slug.
    pub slug: Slug,
    /// The job that builds it.
    pub job: JobId,
}

/// Whether a tenant can be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantStatus {
    /// Onboarding is under way.
    Pending,
    /// Open.
    Active,
    /// Closed for now.
    Suspended,
    /// On its way out.
    Deleting,
}

impl TenantStatus {
    /// As the wire and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleting => "deleting",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "suspended" => Self::Suspended,
            "deleting" => Self::Deleting,
            _ => Self::Pending,
        }
    }
}

/// A tenant as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What it is called.
    pub name: String,
    /// What people type.
    pub slug: String,
    /// Whether it can be entered.
    pub status: TenantStatus,
    /// When it was signed up.
    pub created_at: DateTime<Utc>,
}

/// A tenant in somebody's selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The tenant.
    pub tenant: Tenant,
    /// The member's leading role in it.
    pub role: String,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Its turn has not come.
    Pending,
    /// It is next, or under way.
    Running,
    /// It is done, once.
    Done,
    /// Its last attempt failed; it will be tried again while the job lives.
    Failed,
}

impl StepState {
    /// As the wire and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// One step of a tenant's onboarding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// How often it failed.
    pub failures: i32,
    /// When its turn came.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was done.
    pub finished_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_with_a_new_tenant_is_told_at_once() {
        let violations = NewTenant::parse(" \u{0} ", Some("No Slug"), Some("")).unwrap_err();
        let pointers: Vec<_> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/slug", "Idempotency-Key"]);
        assert!(NewTenant::parse(&"x".repeat(101), None, None).is_err());
        assert_eq!(NewTenant::parse("  Acme  ", None, None).unwrap().name.as_str(), "Acme");
    }
}
