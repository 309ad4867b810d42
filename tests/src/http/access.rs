//! Every operation of the document, called by everybody: who gets in is what its `x-permission` says, and what the
//! reviewed table beside this file says. `BLESS=1` writes the table anew.

use std::{fmt::Write as _, path::Path};

use bulkhead_iam::permissions::{Permission, PermissionSet, SUPPORT_READ, SUPPORT_WRITE, SystemRole};
use bulkhead_kernel::ids::{
    ApiKeyId, ExportId, IdentityId, InvitationId, JobId, MessageId, ResourceId, RoleId, SessionId, SupportAccessId,
    TenantId, VmId, WebhookId,
};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, Client, Founder};

/// Who calls, and what they hold in the tenant; those who are not in it hold nothing there.
struct Caller {
    name: String,
    client: Client,
    standing: Standing,
}

#[derive(Clone, Copy)]
enum Standing {
    Nobody,
    Stranger,
    Member(PermissionSet),
}

/// What came of a call, as far as it concerns who may make it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// Sign in first.
    SignIn,
    /// There is no such tenant for the caller.
    Hidden,
    /// The caller may not.
    Refused,
    /// Whatever came of it, it was not about who called.
    Open,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Hidden => "hidden",
            Self::Refused => "refused",
            Self::Open => "open",
        }
    }

    fn of(status: u16, code: &str) -> Self {
        match (status, code) {
            (401, "unauthenticated") => Self::SignIn,
            (404, "tenant_not_found") => Self::Hidden,
            (403, "forbidden") => Self::Refused,
            _ => Self::Open,
        }
    }

    /// What the declared permission means for the caller.
    fn expected(permission: &str, is_in_path: bool, standing: Standing) -> Self {
        match (permission, standing) {
            ("public", _) => Self::Open,
            (_, Standing::Nobody) => Self::SignIn,
            ("operator", _) => Self::Refused,
            ("signed in", Standing::Stranger) if is_in_path => Self::Hidden,
            ("signed in", _) | ("member", Standing::Member(_)) => Self::Open,
            (_, Standing::Stranger) => Self::Hidden,
            (wanted, Standing::Member(held)) => {
                let mut wanted = wanted
                    .split(" + ")
                    .map(|id| Permission::find(id).unwrap_or_else(|| panic!("{id}?")));
                if wanted.all(|permission| held.contains(permission)) {
                    Self::Open
                } else {
                    Self::Refused
                }
            }
        }
    }
}

pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) permission: String,
    /// The example of the document, where it takes JSON.
    pub(super) body: Option<String>,
}

/// All operations, those that end the caller's session last.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            all.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                permission: operation["x-permission"].as_str().unwrap().to_owned(),
                body: body.is_object().then(|| body["example"].to_string()),
            });
        }
    }
    all.sort_by_key(|operation| operation.path.contains("logout"));
    all
}

/// A call that reaches the check of the permission and, where it passes, does no harm to the others.
pub(super) fn target(operation: &Operation, tenant: TenantId) -> String {
    let (mut path, mut rest) = (String::new(), operation.path.as_str());
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap();
        path.push_str(before);
        let noun = before.trim_end_matches('/').rsplit('/').next().unwrap();
        // Other ids are those of nothing. What is no id of its kind is nothing as well.
        path.push_str(&match (noun, name) {
            ("tenants", _) => tenant.to_string(),
            ("users", _) => IdentityId::new().to_string(),
            ("roles", _) => RoleId::new().to_string(),
            ("vms", _) => VmId::new().to_string(),
            ("api-keys", _) => ApiKeyId::new().to_string(),
            ("invitations", _) => InvitationId::new().to_string(),
            ("resources", _) => ResourceId::new().to_string(),
            ("webhooks", _) => WebhookId::new().to_string(),
            ("deliveries", _) => MessageId::new().to_string(),
            ("jobs", _) => JobId::new().to_string(),
            ("sessions", _) => SessionId::new().to_string(),
            ("support-access", _) => SupportAccessId::new().to_string(),
            ("permissions", _) => "vm:read".to_owned(),
            ("schedules", _) => "jobs.nothing".to_owned(),
            _ => ExportId::new().to_string(),
        });
        rest = behind;
    }
    path.push_str(rest);
    if operation.method == Method::DELETE && operation.path.ends_with("/tenants/{id}") {
        path.push_str("?dry_run=true");
    }
    path
}

async fn outcome(caller: &Caller, operation: &Operation, tenant: TenantId) -> (Outcome, String) {
    let content_type = if operation.body.is_some() {
        "application/json"
    } else {
        ""
    };
    let (path, body) = (target(operation, tenant), operation.body.clone().unwrap_or_default());
    // Where the call is about a tenant that is not in the path, it is this one.
    let is_outside = ["public", "signed in", "operator"].contains(&operation.permission.as_str());
    let client = if is_outside {
        caller.client.clone()
    } else {
        caller.client.with_header("x-org-id", tenant.to_string())
    };
    let answer = client.send(operation.method.clone(), &path, content_type, body).await;
    let is_problem = answer
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/problem+json");
    let code = if is_problem {
        answer.json()["code"].as_str().unwrap().to_owned()
    } else {
        String::new()
    };
    assert!(
        answer.status.as_u16() < 500,
        "{} {path}: {}",
        operation.method,
        answer.text
    );
    (Outcome::of(answer.status.as_u16(), &code), answer.text)
}

/// Registers somebody and makes them a member with one role.
async fn member(app: &App, ada: &Founder, role: &str) -> Founder {
    let email = format!("{}@acme.example", role.to_lowercase());
    app.register(&email).await;
    let roles = ada.client.get("/api/v1/roles").await.expect(200);
    let id = roles
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["name"] == role)
        .unwrap()["id"]
        .clone();
    let new = json!({ "email": email, "first_name": "A", "last_name": "B", "role_ids": [id] });
    ada.client.post("/api/v1/users", &new).await.expect(201);
    app.enter(&email, ada.tenant).await
}

async fn callers(app: &App, ada: &Founder) -> Vec<Caller> {
    // Somebody of another tenant, with a token that leaves the tenant open.
    let foreign = app.founder("bolt").await;
    let login = json!({ "email": foreign.email, "password": crate::harness::PASSWORD });
    let colleague = json!({ "email": foreign.email, "first_name": "A", "last_name": "B" });
    let third = app.founder("cork").await;
    third.client.post("/api/v1/users", &colleague).await.expect(201);
    let unbound = app.client.post("/api/v1/auth/login", &login).await.expect(200);
    let unbound = app.client.with_token(unbound["access_token"].as_str().unwrap());
    let mut callers = vec![
        Caller {
            name: "anonymous".into(),
            client: app.client.clone(),
            standing: Standing::Nobody,
        },
        Caller {
            name: "stranger".into(),
            client: unbound,
            standing: Standing::Stranger,
        },
    ];
    ada.client
        .post("/api/v1/roles", &json!({ "name": "Guest" }))
        .await
        .expect(201);
    let mut add = |name: &str, client: Client, held| {
        callers.push(Caller {
            name: name.into(),
            client,
            standing: Standing::Member(held),
        });
    };
    add("guest", member(app, ada, "Guest").await.client, PermissionSet::EMPTY);
    for role in [SystemRole::Viewer, SystemRole::Member, SystemRole::Admin] {
        add(
            role.as_str(),
            member(app, ada, role.as_str()).await.client,
            role.permissions(),
        );
    }
    add("owner", ada.client.clone(), SystemRole::Owner.permissions());
    callers
}

#[tokio::test]
async fn every_operation_lets_in_whom_it_says_and_nobody_else() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let callers = callers(&app, &ada).await;
    let document = app.client.get("/openapi.json").await.expect(200);
    let mut table = String::new();
    for operation in operations(&document) {
        let Operation {
            method,
            path,
            permission,
            ..
        } = &operation;
        let mut words = Vec::new();
        for caller in &callers {
            let (found, text) = outcome(caller, &operation, ada.tenant).await;
            let is_in_path = path.starts_with("/api/v1/tenants/{id}");
            let expected = Outcome::expected(permission, is_in_path, caller.standing);
            assert_eq!(
                found, expected,
                "{method} {path} ({permission}) by {}: {text}",
                caller.name
            );
            words.push(format!("{} {}", caller.name, found.word()));
        }
        writeln!(table, "{method} {path} | {permission} | {}", words.join(", ")).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/access.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&file).unwrap();
    for (found, line) in table.lines().zip(reviewed.lines()) {
        assert_eq!(found, line, "look at the difference; BLESS=1 writes the table anew");
    }
    assert_eq!(table, reviewed, "look at the difference; BLESS=1 writes the table anew");
}

/// Operators with support access, on every call that is about the tenant in `X-Org-ID`.
#[tokio::test]
async fn support_access_opens_what_it_allows_and_nothing_that_gives_rights() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let document = app.client.get("/openapi.json").await.expect(200);
    let mut n_refused = 0;
    for (name, held) in [("looks", SUPPORT_READ), ("writes", SUPPORT_WRITE)] {
        let (client, _) = app.operator_with(&format!("{name}@platform.example")).await;
        let wanted = json!({"reason": "a look at what is wrong", "write": name == "writes"});
        let path = format!("/api/v1/platform/tenants/{}/support-access", ada.tenant);
        client.post(&path, &wanted).await.expect(201);
        let caller = Caller {
            name: name.into(),
            client,
            standing: Standing::Member(held),
        };
        for operation in operations(&document) {
            let Operation {
                method,
                path,
                permission,
                ..
            } = &operation;
            let is_outside = ["public", "signed in", "operator"].contains(&permission.as_str());
            if is_outside || path.starts_with("/api/v1/tenants") {
                continue;
            }
            let (found, text) = outcome(&caller, &operation, ada.tenant).await;
            let expected = Outcome::expected(permission, false, caller.standing);
            assert_eq!(found, expected, "{method} {path} ({permission}) by who {name}: {text}");
            n_refused += usize::from(found == Outcome::Refused);
        }
    }
    assert!(n_refused > 40, "only {n_refused} calls were refused");
}
