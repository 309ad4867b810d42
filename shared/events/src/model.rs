//! The catalogue of events, with what each tells.

use bulkhead_kernel::ids::{IdentityId, JobId, RoleId, VmId};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The most that the data of an event may take, in bytes of JSON.
pub const MAX_DATA_BYTES: usize = 64 * 1_024;

macro_rules! events {
    ($($name:ident($data:ident) = $word:literal, $description:literal;)*) => {
        /// What can happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventType {
            $(#[doc = $description] $name,)*
        }

        impl EventType {
            /// All types, those of a noun side by side.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name over the wire and in the database: `noun.participle`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// One sentence for a person who chooses.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => $description,)* }
            }

            /// What its data holds.
            #[must_use]
            pub const fn fields(self) -> &'static [Field] {
                match self { $(Self::$name => $data::FIELDS,)* }
            }

            /// Data as it may look.
            #[must_use]
            pub fn example(self) -> Value {
                match self { $(Self::$name => json!($data::example()),)* }
            }

            /// The type of this name; `None` for one that this release does not know.
            #[must_use]
            pub fn find(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }

        /// Something that happened, with what is told of it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Event {
            $(#[doc = $description] $name($data),)*
        }

        impl Event {
            /// Which type it is of.
            #[must_use]
            pub const fn kind(&self) -> EventType {
                match self { $(Self::$name(_) => EventType::$name,)* }
            }

            fn value(&self) -> Value {
                match self { $(Self::$name(data) => json!(data),)* }
            }
        }
    };
}

events! {
    MemberAdded(Member) = "member.added", "A person became a member, for the first time or again.";
    MemberUpdated(Member) = "member.updated", "A member was activated, deactivated, renamed, or has other roles.";
    MemberRemoved(Member) = "member.removed", "A person is no longer a member. The data shows them as they were.";
    RoleCreated(Role) = "role.created", "There is a new role.";
    RoleUpdated(Role) = "role.updated", "A role is called or described differently, or allows something else.";
    RoleDeleted(Role) = "role.deleted", "A role is gone. The data shows it as it was.";
    JobFinished(Job) = "job.finished", "A job that was submitted has ended, one way or another.";
    VmCreated(Vm) = "vm.created", "A machine was requested.";
    VmUpdated(Vm) = "vm.updated", "A machine has another status.";
    VmDeleted(Vm) = "vm.deleted", "A machine is gone from its provider.";
}

impl Event {
    /// What is told of it; of what would be more than [`MAX_DATA_BYTES`] only the id, and that there was more.
    #[must_use]
    pub fn data(&self) -> Value {
        let data = self.value();
        if data.to_string().len() <= MAX_DATA_BYTES {
            return data;
        }
        let mut short = Map::new();
        short.insert("id".into(), data["id"].clone());
        short.insert("is_truncated".into(), true.into());
        Value::Object(short)
    }
}

/// A member of the data of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// What it is called.
    pub name: &'static str,
    /// `string`, `boolean` or `array` (of strings).
    pub kind: &'static str,
    /// What it tells.
    pub description: &'static str,
}

const fn field(name: &'static str, kind: &'static str, description: &'static str) -> Field {
    Field {
        name,
        kind,
        description,
    }
}

/// A member of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The person.
    pub id: IdentityId,
    /// Whether the person may enter the tenant.
    pub is_active: bool,
    /// The names of the roles, sorted.
    pub roles: Vec<String>,
}

impl Member {
    const FIELDS: &'static [Field] = &[
        field("id", "string", "The person, as in /users/{id}."),
        field("is_active", "boolean", "Whether the person may enter the tenant."),
        field("roles", "array", "The names of the roles, sorted."),
    ];

    fn example() -> Self {
        Self {
            id: IdentityId::from(EXAMPLE),
            is_active: true,
            roles: vec!["member".into()],
        }
    }
}

/// A role of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Which.
    pub id: RoleId,
    /// What it is called.
    pub name: String,
    /// What it allows, by id.
    pub permissions: Vec<String>,
}

impl Role {
    const FIELDS: &'static [Field] = &[
        field("id", "string", "The role, as in /roles/{id}."),
        field("name", "string", "What it is called."),
        field("permissions", "array", "What it allows."),
    ];

    fn example() -> Self {
        Self {
            id: RoleId::from(EXAMPLE),
            name: "deployers".into(),
            permissions: vec!["vm:read".into(), "vm:create".into()],
        }
    }
}

/// A job of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// What it was to do, as it was submitted.
    #[serde(rename = "type")]
    pub kind: String,
    /// `done`, `failed` or `cancelled`.
    pub state: String,
}

impl Job {
    const FIELDS: &'static [Field] = &[
        field("id", "string", "The job, as in /jobs/{id}."),
        field("type", "string", "What it was to do."),
        field("state", "string", "done, failed or cancelled."),
    ];

    fn example() -> Self {
        Self {
            id: JobId::from(EXAMPLE),
            kind: "resources.import".into(),
            state: "done".into(),
        }
    }
}

/// A machine of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vm {
    /// Which.
    pub id: VmId,
    /// What it is called.
    pub name: String,
    /// The public status; of one that is gone the last it had.
    pub status: &'static str,
}

impl Vm {
    const FIELDS: &'static [Field] = &[
        field("id", "string", "The machine, as in /vms/{id}."),
        field("name", "string", "What it is called."),
        field("status", "string", "Its status; of one that is gone the last it had."),
    ];

    fn example() -> Self {
        Self {
            id: VmId::from(EXAMPLE),
            name: "web-1".into(),
            status: "RUNNING",
        }
    }
}

/// The id of examples.
const EXAMPLE: uuid::Uuid = uuid::Uuid::from_u128(0x0190_a1b2_c3d4_75f6_8718_293a_4b5c_6d7e);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_of_its_own_and_tells_what_it_says() {
        let mut names = std::collections::BTreeSet::new();
        for &kind in EventType::ALL {
            let name = kind.as_str();
            let (noun, verb) = name.split_once('.').unwrap();
            assert!(
                [noun, verb]
                    .iter()
                    .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')),
                "{name}"
            );
            assert!(names.insert(name), "{name} twice");
            assert_eq!(EventType::find(name), Some(kind));
            let example = kind.example();
            let told: Vec<&str> = example.as_object().unwrap().keys().map(String::as_str).collect();
            let mut said: Vec<&str> = kind.fields().iter().map(|field| field.name).collect();
            said.sort_unstable();
            assert_eq!(told, said, "{name}");
            for field in kind.fields() {
                let value = &example[field.name];
                let is_right = match field.kind {
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    _ => false,
                };
                assert!(is_right, "{name}: {} is no {}", field.name, field.kind);
            }
        }
        assert_eq!(EventType::find("vm.flown"), None);
    }

    #[test]
    fn what_is_too_large_is_told_by_its_id_alone() {
        let mut role = Role::example();
        let whole = Event::RoleUpdated(role.clone()).data();
        assert_eq!(whole["name"], "deployers");
        role.permissions = vec!["x".repeat(1_000); 66];
        let short = Event::RoleUpdated(role.clone()).data();
        assert_eq!(short, json!({"id": role.id, "is_truncated": true}));
    }
}
