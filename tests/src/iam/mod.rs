//! People, sessions and rights against a real database, below HTTP.

mod api_keys;
mod authority;
mod changes;
mod credentials;
mod devices;
mod grants;
mod histories;
mod members;
mod registration;
mod roles;
mod rotation;
mod sign_in;
mod signing_keys;

use std::path::Path;

use bulkhead_iam::{
    Iam, Person, Scope,
    identities::{self, Registration},
    members::{self as tenant_members, Authority, MemberError},
    memberships,
    operators::{self, Made},
    permissions::{PermissionSet, SystemRole},
    roles as tenant_roles,
    sessions::{SessionError, SignIn, TokenPair, service as sessions},
    tokens::Keys,
};
use bulkhead_kernel::{
    clock::Clock,
    config::{Config, ConfigSource},
    ids::{IdentityId, RoleId, SessionId, TenantId},
    origin::Origin,
    secret::Secret,
};
use bulkhead_tenancy::{Db, TenantSelector};
use chrono::DateTime;

use crate::harness::{PASSWORD, TestDb};

/// The parts of iam over a database of the test's own, at a time the test sets.
pub(crate) struct Desk {
    pub(crate) test: TestDb,
    pub(crate) db: Db,
    pub(crate) iam: Iam,
    pub(crate) clock: Clock,
    settings: Vec<(String, String)>,
}

pub(crate) fn origin() -> Origin {
    Origin::system("test")
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With some settings of the test's own.
    pub(crate) async fn with(more: &[(&str, &str)]) -> Self {
        Self::over(TestDb::new().await, more)
    }

    /// The same over a database of the caller's choice.
    pub(crate) fn over(test: TestDb, more: &[(&str, &str)]) -> Self {
        let usual = [
            ("BULKHEAD__AUTH__ARGON2_MEMORY_KIB", "8"),
            ("BULKHEAD__AUTH__ARGON2_PASSES", "1"),
            ("BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL", "false"),
            ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "30000"),
        ];
        let own = usual
            .iter()
            .chain(more)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings: Vec<_> = test.settings().into_iter().chain(own).collect();
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let (db, iam) = assemble(&settings, &clock);
        Self {
            test,
            db,
            iam,
            clock,
            settings,
        }
    }

    /// Another process over the same database: nothing but its rows is remembered.
    pub(crate) fn restart(&mut self) {
        (self.db, self.iam) = assemble(&self.settings, &self.clock);
    }

    /// One more process beside this one, over the same database.
    pub(crate) fn another(&self) -> (Db, Iam) {
        assemble(&self.settings, &self.clock)
    }

    /// The same with one setting of its own.
    pub(crate) fn another_with(&self, key: &str, value: &str) -> (Db, Iam) {
        let own = [(key.to_owned(), value.to_owned())];
        let settings: Vec<_> = self.settings.iter().cloned().chain(own).collect();
        assemble(&settings, &self.clock)
    }

    pub(crate) async fn register(&self, email: &str) -> IdentityId {
        let new = Registration::parse(email, &Secret::new(PASSWORD), "Ada", "Lovelace")
            .ok()
            .unwrap();
        identities::service::register(&origin(), &self.iam, new).await.unwrap();
        let mut connection = self.test.connect("postgres").await;
        let id = sqlx::query_scalar!("SELECT id FROM control.identities WHERE email = $1", email)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        id.into()
    }

    /// A tenant with its system roles and this founder.
    pub(crate) async fn tenant(&self, slug: &str, founder: IdentityId) -> TenantId {
        let tenant = self.test.tenant(&self.db, slug).await;
        let mut tx = self.db.owner().await.unwrap();
        tx.enter_tenant_schema(tenant).await.unwrap();
        tenant_roles::service::seed(&mut tx).await.unwrap();
        tenant_members::service::add_owner(&mut tx, founder).await.unwrap();
        tx.commit().await.unwrap();
        self.join(founder, tenant).await;
        tenant
    }

    /// Puts the tenant into somebody's selector.
    pub(crate) async fn join(&self, identity: IdentityId, tenant: TenantId) {
        let mut tx = self.db.control().await.unwrap();
        memberships::service::join(&mut tx, identity, tenant, SystemRole::Owner)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn try_sign_in(
        &self,
        email: &str,
        password: &str,
        tenant: Option<TenantSelector>,
    ) -> Result<TokenPair, SessionError> {
        let attempt = SignIn {
            email: email.into(),
            password: Secret::new(password),
            device: "a test".into(),
            tenant,
        };
        sessions::sign_in(&self.iam, attempt).await
    }

    pub(crate) async fn sign_in(&self, email: &str) -> TokenPair {
        self.try_sign_in(email, PASSWORD, None).await.ok().unwrap()
    }

    /// What the holder of the pair may do in the tenant, past everything remembered.
    pub(crate) async fn enter(&mut self, pair: &TokenPair, tenant: TenantId) -> Result<Scope, MemberError> {
        self.restart();
        let found = tenant_members::service::authority(&self.iam, tenant, pair.identity, pair.session).await?;
        let tenant = self.db.resolve(&TenantSelector::Id(tenant)).await.unwrap();
        Ok(Scope::new(
            pair.identity,
            pair.session,
            &found,
            tenant,
            origin(),
            self.clock.clone(),
        ))
    }

    /// Makes somebody new a member with these roles.
    pub(crate) async fn member(&self, tenant: TenantId, email: &str, roles: &[&str]) -> IdentityId {
        let id = self.register(email).await;
        let uuid = id.uuid();
        let member = format!(
            "INSERT INTO members (identity_id, email, first_name, last_name) VALUES ('{uuid}', '{email}', 'A', 'B')"
        );
        self.run_in(tenant, &member).await;
        for role in roles {
            let grant = format!(
                "INSERT INTO member_roles (identity_id, role_id) SELECT '{uuid}', id FROM roles WHERE name = '{role}'"
            );
            self.run_in(tenant, &grant).await;
        }
        self.join(id, tenant).await;
        id
    }

    /// The id of the role with this name.
    pub(crate) async fn role(&self, tenant: TenantId, name: &str) -> RoleId {
        let mut connection = self.test.look_into(tenant).await;
        let id = sqlx::query_scalar!("SELECT id FROM roles WHERE name = $1", name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        id.into()
    }

    /// A request of somebody who was let in with all rights, whatever they hold by now.
    pub(crate) async fn scope(&self, identity: IdentityId, tenant: TenantId) -> Scope {
        let authority = Authority {
            email: "somebody@example.com".into(),
            first_name: "Some".into(),
            last_name: "Body".into(),
            roles: Vec::new(),
            permissions: PermissionSet::ALL,
        };
        let tenant = self.db.resolve(&TenantSelector::Id(tenant)).await.unwrap();
        let session = SessionId::new();
        Scope::new(identity, session, &authority, tenant, origin(), self.clock.clone())
    }

    /// Runs a statement as the superuser.
    pub(crate) async fn run(&self, sql: &str) {
        crate::harness::run(&mut self.test.connect("postgres").await, sql).await;
    }

    /// Runs a statement as the superuser in the tenant's schema.
    pub(crate) async fn run_in(&self, tenant: TenantId, sql: &str) {
        crate::harness::run(&mut self.test.look_into(tenant).await, sql).await;
    }
}

fn assemble(settings: &[(String, String)], clock: &Clock) -> (Db, Iam) {
    let source = ConfigSource::from_env(settings.to_vec());
    let config = Config::load_for(source, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let db = Db::new(&config.database).unwrap();
    let iam = Iam::new(db.clone(), key_files(), config.auth, clock.clone()).unwrap();
    (db, iam)
}

/// The two keys of the test data.
fn key_files() -> Keys {
    Keys::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/iam/testdata/keys")).unwrap()
}

/// Whether the session of the pair still opens anything.
pub(crate) async fn principal(desk: &Desk, pair: &TokenPair) -> Result<Person, SessionError> {
    let claims = desk.iam.tokens.verify(&pair.access_token).unwrap();
    sessions::principal(&desk.iam, &claims).await
}

#[tokio::test]
async fn an_operator_is_made_once_and_keeps_the_first_password() {
    let desk = Desk::new().await;
    let make = async |password: &str| {
        let (db, passwords) = (&desk.db, &desk.iam.passwords);
        operators::service::create_by_hand(db, passwords, &desk.clock, "Root@Example.com", Secret::new(password))
            .await
            .unwrap()
    };
    let Made::Created(id) = make(PASSWORD).await else {
        panic!("a new operator")
    };
    assert_eq!(make("quite another password").await, Made::Known(id));
    let pair = desk.sign_in("root@example.com").await;
    assert_eq!(pair.identity, id);
    let me = identities::service::me(&desk.iam, id).await.unwrap();
    assert!(me.is_operator && me.is_email_verified && me.is_active);
    assert!(identities::service::me(&desk.iam, IdentityId::new()).await.is_err());
    let weak = operators::service::create_by_hand(
        &desk.db,
        &desk.iam.passwords,
        &desk.clock,
        "root@example.com",
        Secret::new("password"),
    );
    assert!(weak.await.is_err());
}
