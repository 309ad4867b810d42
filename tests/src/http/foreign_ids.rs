//! What belongs to another tenant answers like what does not exist, on every route that the document knows.

use std::collections::BTreeMap;

use bulkhead_kernel::ids::{
    ApiKeyId, ExportId, IdentityId, ImportId, InvitationId, JobId, MessageId, MigrationRunId, MoveId, ReceiptId,
    ResourceId, RoleId, SessionId, SupportAccessId, TenantId, VmId, WebhookId,
};
use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, Client, Founder, eventually};

/// One id that the caller may know, one of another tenant, and one that nobody has.
struct Ids {
    own: String,
    foreign: String,
    missing: String,
}

/// An operation whose path carries an id.
#[derive(Debug, Clone)]
struct Route {
    method: Method,
    path: String,
    /// The example of the document, where it takes a body.
    body: Option<String>,
    /// Whether it is closed to all tenants alike.
    is_for_operators: bool,
}

/// The routes of the document that carry an id, also under the other name that tenants have.
fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    let paths = document["paths"].as_object().unwrap().iter();
    for (path, operations) in paths.filter(|(path, _)| path.contains('{')) {
        for (method, operation) in operations.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"];
            let route = Route {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                body: body.is_object().then(|| body["example"].to_string()),
                is_for_operators: operation["x-permission"] == "operator",
            };
            if let Some(rest) = path.strip_prefix("/api/v1/tenants") {
                let path = format!("/api/v1/orgs{rest}");
                routes.push(Route { path, ..route.clone() });
            }
            routes.push(route);
        }
    }
    routes
}

async fn machine(founder: &Founder) -> String {
    let templates = founder.client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({
        "name": "secret", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let vm = founder.client.post("/api/v1/vms", &machine).await.expect(202);
    vm["id"].as_str().unwrap().to_owned()
}

/// A member without roles.
async fn user(founder: &Founder) -> String {
    let new = json!({ "email": format!("colleague@{}.example", founder.slug), "first_name": "A", "last_name": "B" });
    let user = founder.client.post("/api/v1/users", &new).await.expect(201);
    user["id"].as_str().unwrap().to_owned()
}

async fn role(founder: &Founder) -> String {
    let role = founder
        .client
        .post("/api/v1/roles", &json!({ "name": "secret" }))
        .await
        .expect(201);
    role["id"].as_str().unwrap().to_owned()
}

/// A second sign-in of this person, so that ending it leaves the first.
async fn other_session(founder: &Founder) -> String {
    let sessions = founder.client.get("/api/v1/auth/sessions").await.expect(200);
    let other = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["is_current"] == false);
    other.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn invitation(app: &App, founder: &Founder) -> String {
    let mut connection = app.db.look_into(founder.tenant).await;
    let role: uuid::Uuid = sqlx::query_scalar("SELECT id FROM roles WHERE name = 'viewer'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let wanted = json!({ "email": "guest@example.com", "role_ids": [RoleId::from(role)] });
    let made = founder.client.post("/api/v1/invitations", &wanted).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

async fn api_key(founder: &Founder) -> String {
    let key = json!({ "name": "deploy", "scopes": ["vm:read"] });
    let key = founder.client.post("/api/v1/api-keys", &key).await.expect(201);
    key["id"].as_str().unwrap().to_owned()
}

async fn resource(founder: &Founder) -> String {
    let wanted = json!({"type": "disk", "name": "secret", "attributes": {"size": 1}});
    let resource = founder.client.post("/api/v1/resources", &wanted).await.expect(201);
    resource["id"].as_str().unwrap().to_owned()
}

async fn webhook(founder: &Founder) -> String {
    let wanted = json!({"url": "https://hooks.example/secret", "event_types": ["role.deleted"]});
    let webhook = founder.client.post("/api/v1/webhooks", &wanted).await.expect(201);
    webhook["id"].as_str().unwrap().to_owned()
}

/// A job that has ended with a file.
async fn job(founder: &Founder) -> String {
    let wanted = json!({"type": "usage.report"});
    let job = founder.client.post("/api/v1/jobs", &wanted).await.expect(202);
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    eventually("the report is written", async || {
        (founder.client.get(&path).await.expect(200)["state"] == "done").then_some(())
    })
    .await;
    job["id"].as_str().unwrap().to_owned()
}

async fn support_access(operator: &Client, founder: &Founder) -> String {
    let path = format!("/api/v1/platform/tenants/{}/support-access", founder.tenant);
    let wanted = json!({"reason": "a look at what is wrong"});
    let given = operator.post(&path, &wanted).await.expect(201);
    given["id"].as_str().unwrap().to_owned()
}

/// The ids of each noun that stands before an id in a path. A route with a new noun gets its line here.
async fn ids(app: &App, ada: &Founder, bob: &Founder) -> BTreeMap<&'static str, Ids> {
    let tenants = || Ids {
        own: ada.tenant.to_string(),
        foreign: bob.tenant.to_string(),
        missing: TenantId::new().to_string(),
    };
    let vms = Ids {
        own: machine(ada).await,
        foreign: machine(bob).await,
        missing: VmId::new().to_string(),
    };
    let users = Ids {
        own: user(ada).await,
        foreign: user(bob).await,
        missing: IdentityId::new().to_string(),
    };
    let roles = Ids {
        own: role(ada).await,
        foreign: role(bob).await,
        missing: RoleId::new().to_string(),
    };
    let sessions = Ids {
        own: other_session(ada).await,
        foreign: other_session(bob).await,
        missing: SessionId::new().to_string(),
    };
    let invitations = Ids {
        own: invitation(app, ada).await,
        foreign: invitation(app, bob).await,
        missing: InvitationId::new().to_string(),
    };
    let keys = Ids {
        own: api_key(ada).await,
        foreign: api_key(bob).await,
        missing: ApiKeyId::new().to_string(),
    };
    let resources = Ids {
        own: resource(ada).await,
        foreign: resource(bob).await,
        missing: ResourceId::new().to_string(),
    };
    let webhooks = Ids {
        own: webhook(ada).await,
        foreign: webhook(bob).await,
        missing: WebhookId::new().to_string(),
    };
    let jobs = Ids {
        own: job(ada).await,
        foreign: job(bob).await,
        missing: JobId::new().to_string(),
    };
    let operator = app.operator().await;
    let support = Ids {
        own: support_access(&operator, ada).await,
        foreign: support_access(&operator, bob).await,
        missing: SupportAccessId::new().to_string(),
    };
    // What only operators have is closed to every member, whatever the id.
    let nobodys = |id: &dyn Fn() -> String| Ids {
        own: id(),
        foreign: id(),
        missing: id(),
    };
    BTreeMap::from([
        ("tenants", tenants()),
        ("orgs", tenants()),
        ("vms", vms),
        ("users", users),
        ("roles", roles),
        ("invitations", invitations),
        ("api-keys", keys),
        ("resources", resources),
        ("webhooks", webhooks),
        ("jobs", jobs),
        ("imports", nobodys(&|| ImportId::new().to_string())),
        ("migrations", nobodys(&|| MigrationRunId::new().to_string())),
        ("sessions", sessions),
        ("operators", nobodys(&|| IdentityId::new().to_string())),
        ("support-access", support),
        ("schedules", nobodys(&|| "jobs.prune".to_owned())),
        ("receipts", nobodys(&|| ReceiptId::new().to_string())),
    ])
}

/// A path with its first id left open, and whether another one stood behind it, which is then that of nothing.
fn opened(path: &str) -> (String, String, bool) {
    let (before, rest) = path.split_once('{').unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    let filled = after
        .replace("{export}", &ExportId::new().to_string())
        .replace("{move}", &MoveId::new().to_string())
        .replace("{access}", &SupportAccessId::new().to_string())
        .replace("{uid}", &IdentityId::new().to_string())
        .replace("{delivery_id}", &MessageId::new().to_string())
        .replace("{role_id}", &RoleId::new().to_string())
        .replace("{pid}", "vm:read");
    assert!(!filled.contains('{'), "{path}: say what its second id is");
    (before.to_owned(), filled.clone(), filled != after)
}

/// The status, the kind of body, and the body but for the id of the request.
async fn answer(client: &Client, route: &Route, path: &str) -> (u16, String, String) {
    let content_type = if route.body.is_some() { "application/json" } else { "" };
    let body = route.body.clone().unwrap_or_default();
    let answer = client.send(route.method.clone(), path, content_type, body).await;
    let kind = answer.headers.get("content-type");
    let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    let mut text = answer.text.clone();
    if kind == "application/problem+json" {
        text = text.replace(answer.json()["instance"].as_str().unwrap(), "");
    }
    (answer.status.as_u16(), kind, text)
}

#[tokio::test]
async fn on_every_route_a_foreign_id_answers_byte_for_byte_like_one_that_does_not_exist() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let ids = ids(&app, &ada, &bob).await;
    let document = app.client.get("/openapi.json").await.expect(200);
    let routes = routes(&document);
    assert!(routes.len() >= 7, "{routes:?}");
    let mut own = Vec::new();
    for route in &routes {
        let Route { method, path, .. } = route;
        let (before, after, has_two) = opened(path);
        let noun = before.trim_end_matches('/').rsplit('/').next().unwrap();
        let ids = ids.get(noun).unwrap_or_else(|| panic!("give {path} a line in ids()"));
        let of = |id: &str| format!("{before}{id}{after}");
        let missing = answer(&ada.client, route, &of(&ids.missing)).await;
        let foreign = answer(&ada.client, route, &of(&ids.foreign)).await;
        let expected = if route.is_for_operators { 403 } else { 404 };
        assert_eq!(missing.0, expected, "{method} {path}: {missing:?}");
        assert_eq!(foreign, missing, "{method} {path}");
        // One tenant can be deleted only once, under either name.
        let is_twice = *method == Method::DELETE && noun == "orgs";
        if !route.is_for_operators && !has_two && !is_twice {
            own.push((route, of(&ids.own)));
        }
    }
    // The same calls find what is one's own, those that end it last.
    own.sort_by_key(|(route, _)| (route.method == Method::DELETE, route.path.contains("/tenants/")));
    for (route, path) in own {
        let (status, _, body) = answer(&ada.client, route, &path).await;
        let is_found = (200..300).contains(&status) || [409, 422].contains(&status);
        assert!(is_found, "{} {path}: {status} {body}", route.method);
    }
}

#[tokio::test]
async fn who_runs_the_platform_is_no_member_of_its_tenants() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await.with_header("x-org-id", &ada.slug);
    let stranger = app.register("stranger@example.com").await;
    let stranger = app.client.with_token(stranger["access_token"].as_str().unwrap());
    let stranger = stranger.with_header("x-org-id", &ada.slug);
    for path in ["/api/v1/vms", "/api/v1/users", "/api/v1/whoami"] {
        for outsider in [&operator, &stranger] {
            outsider.get(path).await.expect_problem(404, "tenant_not_found");
        }
        ada.client.get(path).await.expect(200);
    }
}
