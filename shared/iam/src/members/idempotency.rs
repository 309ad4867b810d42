//! Adding members and giving them roles under an `Idempotency-Key`: the answer is stored in the transaction of the change,
//! so that a repeated request meets either both or neither.

use bulkhead_kernel::ids::IdentityId;
use serde::{Deserialize, Serialize};

use super::Member;
use crate::idempotency::Repeatable;

impl Repeatable for Member {
    type Answer = Answer;

    fn location(&self) -> String {
        format!("/api/v1/users/{}", self.id)
    }
}

/// A member as they were answered.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    id: IdentityId,
    email: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    roles: Vec<String>,
    version: i64,
}

impl From<&Member> for Answer {
    fn from(member: &Member) -> Self {
        let member = member.clone();
        Self {
            id: member.id,
            email: member.email,
            first_name: member.first_name,
            last_name: member.last_name,
            is_active: member.is_active,
            roles: member.roles,
            version: member.version,
        }
    }
}

impl From<Answer> for Member {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            email: answer.email,
            first_name: answer.first_name,
            last_name: answer.last_name,
            is_active: answer.is_active,
            roles: answer.roles,
            version: answer.version,
        }
    }
}
