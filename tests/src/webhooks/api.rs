//! Webhooks as people use them.

use http::Method;
use serde_json::{Value, json};

use super::{Receiver, Reply};
use crate::harness::{App, Founder, Options, eventually};

const PATH: &str = "/api/v1/webhooks";

async fn app() -> (App, Founder) {
    let settings = vec![("BULKHEAD__OUTBOUND__ALLOW_LOOPBACK", "true".to_owned())];
    let app = App::with(Options {
        settings,
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    (app, ada)
}

/// The types of what arrived, in the order of their times, once there are so many.
async fn types(receiver: &Receiver, n: usize) -> Vec<String> {
    let mut messages: Vec<Value> = receiver
        .wait_for(n)
        .await
        .iter()
        .map(|message| message.json())
        .collect();
    messages.sort_by_key(|message| {
        let at = message["timestamp"].as_str().unwrap();
        at.parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    });
    messages
        .iter()
        .map(|message| message["type"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_happens_to_members_roles_and_machines_is_told() {
    let (_app, ada) = app().await;
    let receiver = Receiver::start().await;
    let new = json!({"url": receiver.url});
    let made = ada.client.post(PATH, &new).await.expect(201);
    let secret = made["secret"].as_str().unwrap();

    let role = json!({"name": "deployers", "permission_ids": ["vm:read"]});
    let role = ada.client.post("/api/v1/roles", &role).await.expect(201);
    let role_path = format!("/api/v1/roles/{}", role["id"].as_str().unwrap());
    let wider = json!({"description": "who deploy"});
    ada.client
        .send(Method::PATCH, &role_path, "application/json", wider.to_string())
        .await
        .expect(200);
    let user = json!({"email": "bob@acme.example", "first_name": "Bob", "last_name": "B"});
    let user = ada.client.post("/api/v1/users", &user).await.expect(201);
    let user_path = format!("/api/v1/users/{}", user["id"].as_str().unwrap());
    let of_role = format!("{role_path}/users");
    let holders = json!({"user_ids": [user["id"]]});
    ada.client
        .send(Method::PUT, &of_role, "application/json", holders.to_string())
        .await
        .expect(200);
    let nobody = json!({"user_ids": []});
    ada.client
        .send(Method::PUT, &of_role, "application/json", nobody.to_string())
        .await
        .expect(200);
    let away = json!({"is_active": false});
    ada.client
        .send(Method::PATCH, &user_path, "application/json", away.to_string())
        .await
        .expect(200);
    ada.client.delete(&user_path).await.expect(204);
    ada.client.delete(&role_path).await.expect(204);
    let expected = [
        "role.created",
        "role.updated",
        "member.added",
        "member.updated",
        "member.updated",
        "member.updated",
        "member.removed",
        "role.deleted",
    ];
    assert_eq!(types(&receiver, expected.len()).await, expected);
    let messages = receiver.messages();
    assert!(messages.iter().all(|message| message.signed_by(secret) == [0]));
    let of = |kind: &str| -> Vec<Value> {
        let all = messages.iter().map(|message| message.json());
        all.filter(|message| message["type"] == kind)
            .map(|message| message["data"].clone())
            .collect()
    };
    assert_eq!(
        of("member.added"),
        [json!({"id": user["id"], "is_active": true, "roles": []})]
    );
    assert!(of("member.updated").contains(&json!({"id": user["id"], "is_active": true, "roles": ["deployers"]})));
    assert_eq!(
        of("member.removed"),
        [json!({"id": user["id"], "is_active": false, "roles": []})]
    );
    assert_eq!(
        of("role.created"),
        [json!({"id": role["id"], "name": "deployers", "permissions": ["vm:read"]})]
    );

    let templates = ada.client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({"name": "web-1", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40});
    let vm = ada.client.post("/api/v1/vms", &machine).await.expect(202);
    let told = types(&receiver, 10).await;
    assert_eq!(told[8..], ["vm.created", "vm.updated"]);
    let vm_path = format!("/api/v1/vms/{}", vm["id"].as_str().unwrap());
    ada.client.delete(&vm_path).await.expect(202);
    assert_eq!(types(&receiver, 11).await[10], "vm.deleted");
    let last = receiver.messages().pop().unwrap().json();
    assert_eq!(
        last["data"],
        json!({"id": vm["id"], "name": "web-1", "status": "RUNNING"})
    );
}

#[tokio::test]
async fn who_accepts_an_invitation_is_told_of() {
    let relay = crate::harness::Relay::start().await;
    let mut settings = relay.settings();
    settings.push(("BULKHEAD__OUTBOUND__ALLOW_LOOPBACK", "true".to_owned()));
    let app = App::with(Options {
        settings,
        ..Options::default()
    })
    .await;
    let scene = crate::invitations::Scene {
        ada: app.founder("acme").await,
        app,
        relay,
    };
    let receiver = Receiver::start().await;
    let new = json!({"url": receiver.url, "event_types": ["member.added"]});
    scene.ada.client.post(PATH, &new).await.expect(201);
    let (_, token) = scene.invited("bob@example.com", "viewer").await;
    scene.accept_new(&token).await.expect(200);
    let message = receiver.wait_for(1).await.remove(0).json();
    assert_eq!(
        (&message["type"], &message["data"]["roles"]),
        (&json!("member.added"), &json!(["viewer"]))
    );
}

#[tokio::test]
async fn a_webhook_is_made_shown_changed_rotated_tested_and_deleted() {
    let (app, ada) = app().await;
    let receiver = Receiver::start().await;
    let client = &ada.client;
    let new = json!({"url": receiver.url, "description": " CI ", "event_types": ["vm.deleted"]});
    let answer = client.post(PATH, &new).await;
    let made = answer.expect(201);
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(path, format!("{PATH}/{}", made["id"].as_str().unwrap()));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let answer = client.get(&path).await;
    let shown = answer.expect(200);
    assert_eq!((shown.get("secret"), &shown["description"]), (None, &json!("CI")));
    let seen = client.with_header("if-match", answer.headers["etag"].to_str().unwrap());
    let change = json!({"event_types": []}).to_string();
    seen.send(Method::PATCH, &path, "application/json", change.clone())
        .await
        .expect(200);
    let late = seen.send(Method::PATCH, &path, "application/json", change).await;
    late.expect_problem(412, "precondition_failed");
    let rotated = client
        .post(&format!("{path}/rotate-secret"), &json!({}))
        .await
        .expect(200);
    assert!(rotated["previous_secret_until"].is_string() && rotated["secret"] != made["secret"]);

    receiver.say([Reply::Raw("HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok".into())]);
    let answer = client.send(Method::POST, &format!("{path}/test"), "", "").await;
    let tested = answer.expect(202);
    let delivery_path = answer.headers["location"].to_str().unwrap().to_owned();
    let done = eventually("the delivery is done", async || {
        let delivery = client.get(&delivery_path).await.expect(200);
        (delivery["status"] == "succeeded").then_some(delivery)
    })
    .await;
    assert_eq!((&done["id"], &done["attempts"]), (&tested["id"], &json!(1)));
    let log = &done["log"][0];
    assert_eq!(
        (&log["number"], &log["status"], &log["body"], &log["error"]),
        (&json!(1), &json!(200), &json!("ok"), &Value::Null)
    );
    let message = receiver.messages().remove(0);
    assert_eq!(message.n_signatures(), 2);
    assert_eq!(message.id(), tested["id"].as_str().unwrap());
    client
        .send(Method::POST, &format!("{delivery_path}/replay"), "", "")
        .await
        .expect(202);
    receiver.wait_for(2).await;
    let list = |query: &str| format!("{path}/deliveries{query}");
    assert_eq!(client.get(&list("?type=webhook.test")).await.expect(200)["total"], 1);
    assert_eq!(client.get(&list("?status=failed")).await.expect(200)["total"], 0);
    client
        .get(&list("?status=lost"))
        .await
        .expect_problem(422, "validation");
    let since = json!({"since": "2026-01-01T00:00:00Z"});
    assert_eq!(
        client.post(&format!("{path}/replay"), &since).await.expect(202)["deliveries"],
        0
    );
    assert_eq!(client.get(PATH).await.expect(200)["total"], 1);
    client.delete(&path).await.expect(204);
    client.get(&path).await.expect_problem(404, "not_found");
    client.get(&delivery_path).await.expect_problem(404, "not_found");

    let secrets = [&made["secret"], &rotated["secret"]].map(|secret| secret.as_str().unwrap()[6..].to_owned());
    let logs = [app.api.log(), app.worker.as_ref().unwrap().log()].concat();
    assert!(logs.iter().any(|line| line.contains("webhooks.deliver")));
    for secret in &secrets {
        assert!(!logs.iter().any(|line| line.contains(secret)));
    }
}

#[tokio::test]
async fn what_may_not_be_called_cannot_be_written() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    for url in [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest",
        "https://localhost/",
        "http://[::1]/",
        "ftp://example.com/",
        "https://user:word@example.com/",
        "https://example.com:8443/",
        "not a url",
        "http://postgres:5432/",
    ] {
        let problem = ada
            .client
            .post(PATH, &json!({"url": url}))
            .await
            .expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "/url", "{url}");
    }
    let unknown = json!({"url": "https://hooks.example/", "event_types": ["vm.flown"]});
    let problem = ada.client.post(PATH, &unknown).await.expect_problem(422, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "/event_types/0");
    let types = ada.client.get("/api/v1/webhook-event-types").await.expect(200);
    let names: Vec<_> = types
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "member.added",
            "member.updated",
            "member.removed",
            "role.created",
            "role.updated",
            "role.deleted",
            "job.finished",
            "vm.created",
            "vm.updated",
            "vm.deleted",
        ]
    );
    for one in types.as_array().unwrap() {
        for required in one["schema"]["required"].as_array().unwrap() {
            assert!(one["example"].get(required.as_str().unwrap()).is_some(), "{one}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_submitted_job_is_told_however_it_ends() {
    let (_app, ada) = app().await;
    let receiver = Receiver::start().await;
    let new = json!({"url": receiver.url, "event_types": ["job.finished"]});
    ada.client.post(PATH, &new).await.expect(201);
    let now = json!({"type": "usage.report", "params": {}});
    let done = ada.client.post("/api/v1/jobs", &now).await.expect(202);
    let made: chrono::DateTime<chrono::Utc> = done["created_at"].as_str().unwrap().parse().unwrap();
    let later = json!({"type": "usage.report", "params": {}, "run_at": made + chrono::TimeDelta::days(30)});
    let ended = ada.client.post("/api/v1/jobs", &later).await.expect(202);
    let cancel = format!("/api/v1/jobs/{}/cancel", ended["id"].as_str().unwrap());
    ada.client.post(&cancel, &json!({})).await.expect(200);
    let mut told: Vec<Value> = receiver
        .wait_for(2)
        .await
        .iter()
        .map(|message| message.json()["data"].clone())
        .collect();
    told.sort_by_key(|data| data["state"].to_string());
    let expected = |job: &Value, state| json!({"id": job["id"], "type": "usage.report", "state": state});
    assert_eq!(told, [expected(&ended, "cancelled"), expected(&done, "done")]);
}
