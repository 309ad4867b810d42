//! Making and widening roles under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a
//! repeated request meets either both or neither.

use bulkhead_kernel::ids::RoleId;
use serde::{Deserialize, Serialize};

use super::{Held, Role};
use crate::idempotency::Repeatable;

impl Repeatable for Role {
    type Answer = Answer;

    fn location(&self) -> String {
        format!("/api/v1/roles/{}", self.id)
    }
}

/// A role as it was answered.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    id: RoleId,
    name: String,
    description: String,
    is_system: bool,
    version: i64,
    n_users: i64,
    permissions: Vec<String>,
}

impl From<&Role> for Answer {
    fn from(role: &Role) -> Self {
        Self {
            id: role.id,
            name: role.name.clone(),
            description: role.description.clone(),
            is_system: role.is_system,
            version: role.version,
            n_users: role.n_users,
            permissions: role.permissions.ids().map(str::to_owned).collect(),
        }
    }
}

impl From<Answer> for Role {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            name: answer.name,
            description: answer.description,
            is_system: answer.is_system,
            version: answer.version,
            n_users: answer.n_users,
            permissions: Held::of_ids(answer.permissions),
        }
    }
}
