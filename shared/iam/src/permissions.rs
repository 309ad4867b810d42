//! What can be allowed. The catalogue is this file; a tenant's roles only choose from it.

use std::fmt;

macro_rules! permissions {
    ($($name:ident = $id:literal, $title:literal;)*) => {
        /// The right to do one thing to one kind of thing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $(#[doc = $title] $name,)*
        }

        impl Permission {
            /// All permissions, those of a module side by side.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The id as it goes over the wire and into the database: `noun:verb`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// A few words for a person who gives or takes it.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The permission with this id; `None` for one that this release does not know.
            #[must_use]
            pub fn find(id: &str) -> Option<Self> {
                match id { $($id => Some(Self::$name),)* _ => None }
            }
        }
    };
}

permissions! {
    TenantRead = "tenant:read", "See the organisation";
    TenantUpdate = "tenant:update", "Change the organisation";
    TenantDelete = "tenant:delete", "Delete the organisation";
    TenantExport = "tenant:export", "Export everything the organisation owns";
    UserRead = "user:read", "See users";
    UserCreate = "user:create", "Add users";
    UserUpdate = "user:update", "Change, activate and deactivate users";
    UserDelete = "user:delete", "Remove users";
    RoleRead = "role:read", "See roles and permissions";
    RoleCreate = "role:create", "Create roles";
    RoleUpdate = "role:update", "Change roles and their permissions";
    RoleDelete = "role:delete", "Delete roles";
    RoleAssignUsers = "role:assign_users", "Give and take roles";
    InvitationRead = "invitation:read", "See invitations";
    InvitationCreate = "invitation:create", "Invite people";
    InvitationUpdate = "invitation:update", "Change and resend invitations";
    InvitationDelete = "invitation:delete", "Revoke invitations";
    ApiKeyRead = "api_key:read", "See API keys";
    ApiKeyCreate = "api_key:create", "Create API keys";
    ApiKeyUpdate = "api_key:update", "Change and rotate API keys";
    ApiKeyDelete = "api_key:delete", "Revoke API keys";
    WebhookRead = "webhook:read", "See webhooks and what was sent to them";
    WebhookManage = "webhook:manage", "Create, change, rotate, test and delete webhooks, and send again";
    AuditRead = "audit:read", "Read the audit log";
    SupportAccessEnd = "support_access:end", "End the access of the platform's support";
    ResourceRead = "resource:read", "See resources";
    ResourceCreate = "resource:create", "Create resources";
    ResourceUpdate = "resource:update", "Change resources";
    ResourceDelete = "resource:delete", "Delete resources";
    JobRead = "job:read", "See background jobs";
    JobCreate = "job:create", "Start background jobs";
    JobCancel = "job:cancel", "Cancel background jobs";
    JobRetry = "job:retry", "Run background jobs again";
    UsageRead = "usage:read", "See usage";
    UsageWrite = "usage:write", "Report usage";
    VmRead = "vm:read", "See machines";
    VmCreate = "vm:create", "Create machines";
    VmUpdate = "vm:update", "Rename and resize machines";
    VmDelete = "vm:delete", "Delete machines";
    VmPowerManage = "vm:power_manage", "Start, stop and restart machines";
    VmReadLogs = "vm:read_logs", "Read the logs of machines";
    VmConsole = "vm:console", "Open the console of machines";
}

impl Permission {
    /// The noun it is about; the catalogue is shown grouped by it.
    #[must_use]
    pub fn module(self) -> &'static str {
        self.as_str().split_once(':').map_or("", |(noun, _)| noun)
    }

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// A permission is one bit of a `PermissionSet`.
const _: () = assert!(Permission::ALL.len() <= 64, "PermissionSet has 64 bits");

/// A set of permissions; as cheap to copy and to ask as a number.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PermissionSet(u64);

impl PermissionSet {
    /// Nothing is allowed.
    pub const EMPTY: Self = Self(0);

    /// Everything is allowed.
    pub const ALL: Self = Self::of(Permission::ALL);

    /// The set of these permissions.
    #[must_use]
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < permissions.len() {
            bits |= permissions[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// The set of these ids. One that this release does not know allows nothing.
    #[must_use]
    pub fn from_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        ids.into_iter().filter_map(Permission::find).collect()
    }

    /// Whether `permission` is in it.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether all of `other` is in it: nobody gives what they do not hold.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether anything of `other` is in it.
    #[must_use]
    pub const fn shares(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is in it and in `other`.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This set and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its permissions in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .iter()
            .copied()
            .filter(move |&permission| self.contains(permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions
            .into_iter()
            .fold(Self::EMPTY, |set, permission| Self(set.0 | permission.bit()))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

/// A role that every tenant has from its first day and nobody changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemRole {
    /// Everything, the end of the tenant included. At least one active member has it.
    Owner,
    /// Everything that does not end the tenant or carry it away.
    Admin,
    /// The daily work: machines, resources, jobs.
    Member,
    /// Looks and changes nothing.
    Viewer,
}

/// What only an owner may do.
const OWNERS_ONLY: PermissionSet = PermissionSet::of(&[
    Permission::TenantDelete,
    Permission::TenantExport,
    Permission::SupportAccessEnd,
]);

const VIEWER: PermissionSet = PermissionSet::of(&[
    Permission::TenantRead,
    Permission::UserRead,
    Permission::RoleRead,
    Permission::ResourceRead,
    Permission::JobRead,
    Permission::UsageRead,
    Permission::VmRead,
    Permission::VmReadLogs,
]);

const MEMBER: PermissionSet = VIEWER.with(PermissionSet::of(&[
    Permission::ResourceCreate,
    Permission::ResourceUpdate,
    Permission::ResourceDelete,
    Permission::JobCreate,
    Permission::JobCancel,
    Permission::JobRetry,
    Permission::UsageWrite,
    Permission::VmCreate,
    Permission::VmUpdate,
    Permission::VmDelete,
    Permission::VmPowerManage,
    Permission::VmConsole,
]));

/// What is done by people alone: an API key never allows it, whoever owns it. A stolen key must not be able to make
/// another way in, and calls about a tenant as such ask who the person is.
pub const PEOPLE_ONLY: PermissionSet = PermissionSet::of(&[
    Permission::TenantUpdate,
    Permission::TenantDelete,
    Permission::TenantExport,
    Permission::UserCreate,
    Permission::UserUpdate,
    Permission::UserDelete,
    Permission::RoleCreate,
    Permission::RoleUpdate,
    Permission::RoleDelete,
    Permission::RoleAssignUsers,
    Permission::InvitationCreate,
    Permission::InvitationUpdate,
    Permission::InvitationDelete,
    Permission::ApiKeyRead,
    Permission::ApiKeyCreate,
    Permission::ApiKeyUpdate,
    Permission::ApiKeyDelete,
    Permission::SupportAccessEnd,
]);

/// What support access allows an operator in a tenant: what a viewer sees.
pub const SUPPORT_READ: PermissionSet = VIEWER;

/// What it allows where it was asked for to write: the daily work of a member but for the inside of machines. Nothing of
/// [`PEOPLE_ONLY`] is ever in it, so it makes no other way in and does not end the tenant.
pub const SUPPORT_WRITE: PermissionSet = MEMBER.without(PermissionSet::of(&[Permission::VmConsole]));

const _: () = assert!(
    !SUPPORT_WRITE.shares(PEOPLE_ONLY) && SUPPORT_WRITE.covers(SUPPORT_READ),
    "support access must not make another way in"
);

impl SystemRole {
    /// All of them, the mightiest first.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Member, Self::Viewer];

    /// The name, the same in every tenant.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// What it is for, in a sentence for a person.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Owner => "May do everything, including deleting the organisation.",
            Self::Admin => "May do everything except deleting or exporting the organisation.",
            Self::Member => "Works with machines, resources and jobs.",
            Self::Viewer => "Sees everything of the daily work and changes nothing.",
        }
    }

    /// What it allows.
    #[must_use]
    pub const fn permissions(self) -> PermissionSet {
        match self {
            Self::Owner => PermissionSet::ALL,
            Self::Admin => PermissionSet::ALL.without(OWNERS_ONLY),
            Self::Member => MEMBER,
            Self::Viewer => VIEWER,
        }
    }
}

impl fmt::Display for SystemRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_noun_and_verb_and_unique() {
        let mut seen = HashSet::new();
        for &permission in Permission::ALL {
            let (noun, verb) = permission.as_str().split_once(':').unwrap();
            let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(is_word(noun) && is_word(verb), "{permission}");
            assert!(seen.insert(permission.as_str()), "{permission} twice");
            assert_eq!(Permission::find(permission.as_str()), Some(permission));
            assert_eq!(permission.module(), noun);
        }
        assert_eq!(Permission::find("vm:fly"), None);
    }

    #[test]
    fn the_permissions_of_a_module_stand_together() {
        let mut modules: Vec<&str> = Permission::ALL.iter().map(|p| p.module()).collect();
        modules.dedup();
        let distinct: HashSet<&str> = modules.iter().copied().collect();
        assert_eq!(modules.len(), distinct.len(), "{modules:?}");
    }

    #[test]
    fn a_set_holds_exactly_what_it_was_made_of() {
        let set = PermissionSet::from_ids(["vm:read", "job:read", "vm:fly", "vm:read"]);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Permission::JobRead, Permission::VmRead]
        );
        assert!(set.contains(Permission::VmRead) && !set.contains(Permission::VmCreate));
        assert!(PermissionSet::ALL.covers(set) && !set.covers(PermissionSet::ALL));
        assert!(set.covers(PermissionSet::EMPTY) && !PermissionSet::EMPTY.covers(set));
        assert_eq!(set.without(set), PermissionSet::EMPTY);
        assert_eq!(set.within(PermissionSet::ALL), set);
        assert_eq!(set.within(PermissionSet::EMPTY), PermissionSet::EMPTY);
        assert_eq!(PermissionSet::ALL.iter().count(), Permission::ALL.len());
    }

    #[test]
    fn each_system_role_covers_the_next_and_only_the_owner_ends_the_tenant() {
        for pair in SystemRole::ALL.windows(2) {
            assert!(pair[0].permissions().covers(pair[1].permissions()), "{pair:?}");
            assert_ne!(pair[0].permissions(), pair[1].permissions(), "{pair:?}");
        }
        assert!(!SystemRole::Admin.permissions().contains(Permission::TenantDelete));
        assert!(
            !SystemRole::Viewer
                .permissions()
                .iter()
                .any(|p| !p.as_str().contains(":read"))
        );
    }
}
