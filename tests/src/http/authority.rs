//! What is taken from somebody is gone within a second on every process, whatever each of them remembers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{App, Client, Founder, server::Server};

/// How old remembered rights may be (docs/adr/0012).
const BOUND: Duration = Duration::from_secs(1);

const READ: &str = "/api/v1/users";

/// Two API processes over one database.
struct Pair {
    app: App,
    second: Server,
    ada: Founder,
}

impl Pair {
    async fn start() -> Self {
        let app = App::start().await;
        let second = Server::start("bulkhead-api", &app.env).await;
        let ada = app.founder("acme").await;
        Self { app, second, ada }
    }

    /// A viewer, as a client of each process.
    async fn viewer(&self, email: &str) -> (Value, [Client; 2]) {
        self.app.register(email).await;
        let roles = self.ada.client.get("/api/v1/roles").await.expect(200);
        let viewer = roles
            .as_array()
            .unwrap()
            .iter()
            .find(|role| role["name"] == "viewer")
            .unwrap();
        let new = json!({ "email": email, "first_name": "A", "last_name": "B", "role_ids": [viewer["id"]] });
        let user = self.ada.client.post(READ, &new).await.expect(201);
        let entered = self.app.enter(email, self.ada.tenant).await;
        let second = Client::new(self.second.url("public")).with_token(&entered.token);
        (
            json!({ "id": user["id"], "role": viewer["id"] }),
            [entered.client, second],
        )
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/tenants/{}{rest}", self.ada.tenant)
    }
}

/// Lets both processes remember that the caller may read, makes the change, and asks until both refuse. A question that is
/// asked a second after the change was answered is refused: what was remembered before is over.
async fn bites(clients: &[Client; 2], change: impl AsyncFnOnce(), status: u16, code: &str) {
    for client in clients {
        client.get(READ).await.expect(200);
    }
    change().await;
    let changed = Instant::now();
    for client in clients {
        loop {
            let begun = Instant::now();
            let answer = client.get(READ).await;
            if answer.status != 200 {
                answer.expect_problem(status, code);
                break;
            }
            assert!(begun < changed + BOUND, "let in {:?} after the change", begun - changed);
        }
        client.get(READ).await.expect_problem(status, code);
    }
}

#[tokio::test]
async fn demotion_deactivation_and_removal_bite_on_every_process_within_a_second() {
    let pair = Pair::start().await;
    let (user, clients) = pair.viewer("bob@example.com").await;
    let user_path = pair.path(&format!("/users/{}", user["id"].as_str().unwrap()));
    let role_path = format!("{user_path}/roles/{}", user["role"].as_str().unwrap());
    let ada = &pair.ada.client;
    bites(
        &clients,
        async || drop(ada.delete(&role_path).await.expect(204)),
        403,
        "forbidden",
    )
    .await;
    let role = json!({ "role_id": user["role"] });
    ada.post(&format!("{user_path}/roles"), &role).await.expect(200);
    for client in &clients {
        crate::harness::eventually("the role is seen", async || {
            (client.get(READ).await.status == 200).then_some(())
        })
        .await;
    }
    let set_active = async |is_active: bool| {
        let body = json!({ "is_active": is_active }).to_string();
        ada.send(http::Method::PATCH, &user_path, "application/json", body)
            .await
            .expect(200);
    };
    bites(&clients, async || set_active(false).await, 404, "tenant_not_found").await;
    set_active(true).await;
    bites(
        &clients,
        async || drop(ada.delete(&user_path).await.expect(204)),
        404,
        "tenant_not_found",
    )
    .await;
}

#[tokio::test]
async fn logout_and_suspension_bite_on_every_process_within_a_second() {
    let pair = Pair::start().await;
    let operator = pair.app.operator().await;
    let (_, clients) = pair.viewer("bob@example.com").await;
    let out = async || drop(clients[0].post("/api/v1/auth/logout", &json!({})).await.expect(204));
    bites(&clients, out, 401, "session_ended").await;
    let (_, clients) = pair.viewer("carl@example.com").await;
    let suspend = async || {
        let how = json!({ "mode": "full", "reason": "a test" });
        operator.post(&pair.path("/suspend"), &how).await.expect(200);
    };
    bites(&clients, suspend, 403, "tenant_not_active").await;
}
