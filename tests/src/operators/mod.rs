//! Those who run the platform: made, deactivated, let into tenants, and recorded.

mod recorded;
mod support;

use std::time::Duration;

use bulkhead_iam::operators::{NewOperator, OperatorError, service as operators};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::IdentityId,
    page::PageRequest,
};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::Executor;
use tokio::time::Instant;

use crate::{
    harness::{App, Client, connect, server::Server},
    iam::{Desk, origin},
};

const PATH: &str = "/api/v1/platform/operators";

/// How long what was taken may still be there (docs/adr/0012).
const BOUND: Duration = Duration::from_secs(1);

/// Two API processes over one database.
struct Pair {
    app: App,
    second: Server,
}

impl Pair {
    async fn start() -> Self {
        let app = App::start().await;
        let second = Server::start("bulkhead-api", &app.env).await;
        Self { app, second }
    }

    /// An operator as a client of each process.
    async fn operator(&self, email: &str) -> [Client; 2] {
        let (first, token) = self.app.operator_with(email).await;
        let second = Client::new(self.second.url("public")).with_token(token);
        [first, second]
    }
}

/// Lets both processes see that the call is answered, makes the change, and asks until both refuse. What is asked a second
/// after the change was answered is refused.
async fn bites(clients: &[Client], path: &str, change: impl AsyncFnOnce(), status: u16, code: &str) {
    for client in clients {
        client.get(path).await.expect(200);
    }
    change().await;
    let changed = Instant::now();
    for client in clients {
        loop {
            let begun = Instant::now();
            let answer = client.get(path).await;
            if answer.status != 200 {
                answer.expect_problem(status, code);
                break;
            }
            assert!(begun < changed + BOUND, "let in {:?} after the change", begun - changed);
        }
        client.get(path).await.expect_problem(status, code);
    }
}

async fn id_of(operator: &Client) -> String {
    let me = operator.get("/api/v1/users/me").await.expect(200);
    me["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_wrong_with_a_new_operator_is_told_and_nothing_is_written() {
    let app = App::start().await;
    let (operator, _) = app.operator_with("root@platform.example").await;
    let wrong = json!({"email": "grace", "first_name": "", "last_name": "x".repeat(101)});
    let problem = operator.post(PATH, &wrong).await.expect_problem(422, "validation");
    let pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/email", "/first_name", "/last_name"]);
    let known = json!({"email": "root@platform.example", "first_name": "A", "last_name": "B"});
    operator.post(PATH, &known).await.expect_problem(409, "operator_exists");
    let oneself = format!("{PATH}/{}", id_of(&operator).await);
    operator
        .post(&format!("{oneself}/deactivate"), &json!({}))
        .await
        .expect_problem(409, "operator_oneself");
    operator
        .delete(&oneself)
        .await
        .expect_problem(405, "method_not_allowed");
    let stranger = app.register("ada@example.com").await;
    let stranger = app.client.with_token(stranger["access_token"].as_str().unwrap());
    // Somebody is no operator by having an id.
    for path in [PATH.to_owned(), oneself.clone()] {
        stranger.get(&path).await.expect_problem(403, "forbidden");
    }
    let nobody = format!("{PATH}/{}", id_of(&stranger).await);
    for tail in ["/deactivate", "/reactivate"] {
        operator
            .post(&format!("{nobody}{tail}"), &json!({}))
            .await
            .expect_problem(404, "not_found");
    }
    operator.get(&nobody).await.expect_problem(404, "not_found");
    let listed = operator.get(PATH).await.expect(200);
    assert_eq!(
        (&listed["total"], &listed["items"][0]["is_active"]),
        (&json!(1), &json!(true))
    );
    let written = operator.get("/api/v1/platform/audit-log").await.expect(200);
    assert_eq!(written["total"], 0, "{written}");
}

#[tokio::test]
async fn somebody_becomes_an_operator_and_deactivation_bites_on_every_process_at_once() {
    let pair = Pair::start().await;
    let [root, _] = pair.operator("root@platform.example").await;
    let grace = pair.app.register("grace@example.com").await;
    let token = grace["access_token"].as_str().unwrap();
    let grace = [
        pair.app.client.with_token(token),
        Client::new(pair.second.url("public")).with_token(token),
    ];
    grace[0].get(PATH).await.expect_problem(403, "forbidden");
    let wanted = json!({"email": "Grace@example.com", "first_name": "Other", "last_name": "Name"});
    let made = root.post(PATH, &wanted).await;
    let body = made.expect(201);
    assert_eq!(
        (&body["email"], &body["first_name"], &body["created_by"]),
        (&json!("grace@example.com"), &json!("Ada"), &json!(id_of(&root).await)),
        "a known person keeps their names"
    );
    let path = made.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(grace[0].get(&path).await.expect(200), body);
    let deactivate = async || {
        let after = root.post(&format!("{path}/deactivate"), &json!({})).await.expect(200);
        assert_eq!(after["is_active"], false);
    };
    bites(&grace, PATH, deactivate, 403, "forbidden").await;
    grace[0]
        .post(&format!("{path}/reactivate"), &json!({}))
        .await
        .expect_problem(403, "forbidden");
    root.post(PATH, &wanted).await.expect_problem(409, "operator_exists");
    // Twice is once, in the log as well.
    root.post(&format!("{path}/deactivate"), &json!({})).await.expect(200);
    root.post(&format!("{path}/reactivate"), &json!({})).await.expect(200);
    for client in &grace {
        client.get(PATH).await.expect(200);
    }
    let log = root.get("/api/v1/platform/audit-log").await.expect(200);
    let actions: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(
        actions,
        ["operator.reactivate", "operator.deactivate", "operator.create"]
    );
}

fn new(email: &str) -> NewOperator {
    NewOperator::parse(email, "New", "Body").unwrap()
}

async fn active(desk: &Desk) -> Vec<IdentityId> {
    let page = PageRequest::new(1, 100).unwrap();
    let listed = operators::list(&desk.iam, page).await.unwrap().items;
    listed
        .into_iter()
        .filter(|one| one.is_active)
        .map(|one| one.id)
        .collect()
}

/// The first operator, made past the product.
async fn first(desk: &Desk) -> IdentityId {
    let id = desk.register("root@platform.example").await;
    let made = format!(
        "INSERT INTO control.operators (identity_id, created_by) VALUES ('{}', 'system')",
        id.uuid()
    );
    desk.run(&made).await;
    id
}

#[tokio::test]
async fn who_is_new_gets_a_link_to_choose_a_password_and_only_an_active_operator_makes_one() {
    let desk = Desk::new().await;
    let root = first(&desk).await;
    let grace = operators::create(&origin(), &desk.iam, root, &new("grace@example.com"))
        .await
        .unwrap();
    let mut admin = desk.test.connect("postgres").await;
    let mails: Vec<(String, String)> = sqlx::query_as(
        "SELECT payload ->> 'template', payload ->> 'to' FROM control.jobs WHERE kind = 'mail.send' ORDER BY created_at DESC, id DESC LIMIT 1",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(mails, [("operator_made".to_owned(), grace.id.to_string())]);
    let ada = desk.register("ada@example.com").await;
    operators::deactivate(&origin(), &desk.iam, root, grace.id)
        .await
        .unwrap();
    for nobody in [ada, grace.id, IdentityId::new()] {
        let refused = operators::create(&origin(), &desk.iam, nobody, &new("eve@example.com")).await;
        assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
        let refused = operators::reactivate(&origin(), &desk.iam, nobody, grace.id).await;
        assert_eq!(refused.unwrap_err().code(), Code::Forbidden);
    }
    let n_eves: i64 = sqlx::query_scalar("SELECT count(*) FROM control.identities WHERE email = 'eve@example.com'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(n_eves, 0, "who is refused makes nobody");
}

#[tokio::test]
async fn of_operators_who_all_deactivate_each_other_at_once_one_is_left() {
    let desk = Desk::with(&[("BULKHEAD__DATABASE__CONTROL_CONNECTIONS", "10")]).await;
    let mut all = vec![first(&desk).await];
    for n in 1..15 {
        let made = operators::create(&origin(), &desk.iam, all[0], &new(&format!("op{n}@example.com"))).await;
        all.push(made.unwrap().id);
    }
    let pairs = all.iter().flat_map(|by| all.iter().map(move |other| (*by, *other)));
    let pairs: Vec<_> = pairs.filter(|(by, other)| by != other).collect();
    assert_eq!(pairs.len(), 210);
    let origin = origin();
    let results = join_all(
        pairs
            .iter()
            .map(|(by, other)| operators::deactivate(&origin, &desk.iam, *by, *other)),
    )
    .await;
    for result in results {
        assert!(matches!(result, Ok(_) | Err(OperatorError::Forbidden)), "{result:?}");
    }
    let left = active(&desk).await;
    assert_eq!(left.len(), 1, "{left:?}");
    let refused = operators::deactivate(&origin, &desk.iam, left[0], left[0]).await;
    assert_eq!(refused.unwrap_err().code(), Code::OperatorOneself);
}

#[tokio::test]
async fn no_login_of_the_product_deletes_operators_or_changes_what_they_did() {
    let desk = Desk::new().await;
    let root = first(&desk).await;
    operators::create(&origin(), &desk.iam, root, &new("grace@example.com"))
        .await
        .unwrap();
    for login in ["bulkhead_control", "bulkhead_tenant"] {
        let mut connection = connect(&desk.test.url(login), None).await;
        for statement in [
            "DELETE FROM control.operators",
            "DELETE FROM control.support_access",
            "UPDATE control.platform_events SET action = 'nothing'",
            "DELETE FROM control.platform_events",
            "TRUNCATE control.platform_events",
        ] {
            let refused = connection.execute(statement).await.unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
            assert_eq!(code, "42501", "{login}: {statement}");
        }
    }
}
