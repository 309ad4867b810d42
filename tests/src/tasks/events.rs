//! `/jobs/{id}/events`: a job as it happens.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{busy, idle, reaches, submit, token_with};
use crate::harness::{App, Client, run};

/// An event of a stream: its id, its name and its data.
fn events(text: &str) -> Vec<(Option<i64>, String, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.contains("event: "));
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
    };
    blocks
        .map(|block| {
            let id = field(block, "id: ").map(|id| id.parse().unwrap());
            let data = field(block, "data: ").unwrap();
            (
                id,
                field(block, "event: ").unwrap(),
                serde_json::from_str(&data).unwrap(),
            )
        })
        .collect()
}

async fn watch(client: &Client, path: &str) -> Vec<(Option<i64>, String, Value)> {
    let answer = client.get(&format!("{path}/events")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    events(&answer.text)
}

#[tokio::test]
async fn a_stream_tells_states_lines_and_progress_and_ends_with_the_job() {
    let (mut app, ada) = idle().await;
    let path = submit(&ada.client, "usage.report", json!({})).await;
    let watching = tokio::spawn({
        let (client, path) = (ada.client.clone(), path.clone());
        async move { watch(&client, &path).await }
    });
    app.worker = Some(app.start_worker().await);
    let told = watching.await.unwrap();
    let states: Vec<_> = told
        .iter()
        .filter(|(_, name, _)| name == "state")
        .map(|(_, _, data)| data["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["queued", "running", "done"], "{told:?}");
    let numbers: Vec<_> = told.iter().filter_map(|(id, ..)| *id).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>(), "{told:?}");
    let line = told.iter().find(|(_, name, _)| name == "log").unwrap();
    assert_eq!(line.2["level"], "info");
    assert!(
        line.2["message"].as_str().unwrap().starts_with("The report has "),
        "{line:?}"
    );
    let last = told.iter().rfind(|(_, name, _)| name == "progress").unwrap();
    assert_eq!((last.0, &last.2), (None, &json!({"done": 5, "total": 5})));
}

#[tokio::test]
async fn a_stream_is_taken_up_where_another_one_ended() {
    let (_app, ada) = busy().await;
    let path = submit(&ada.client, "usage.report", json!({})).await;
    reaches(&ada.client, &path, "done").await;
    let numbered = |told: Vec<(Option<i64>, String, Value)>| {
        let all = told.into_iter().filter(|(id, ..)| id.is_some());
        all.collect::<Vec<_>>()
    };
    let all = numbered(watch(&ada.client, &path).await);
    assert!(all.len() >= 4, "{all:?}");
    for seen in 0..=all.len() {
        let later = ada.client.with_header("last-event-id", seen.to_string());
        assert_eq!(numbered(watch(&later, &path).await), all[seen..], "after {seen}");
    }
    let odd = ada.client.with_header("last-event-id", "none of ours");
    assert_eq!(numbered(watch(&odd, &path).await), all);
}

/// A stream that is read as it comes.
struct Open(TcpStream, String);

impl Open {
    async fn new(app: &App, token: &str, path: &str) -> Self {
        let address = app.api.url("public").replace("http://", "");
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let request = format!(
            "GET {path}/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        Self(connection, String::new())
    }

    /// What has come so far once this is in it, or all of it.
    async fn read_to(&mut self, needle: Option<&str>) -> &str {
        let mut piece = [0; 4096];
        while needle.is_none_or(|needle| !self.1.contains(needle)) {
            match self.0.read(&mut piece).await.unwrap() {
                0 => break,
                n => self.1.push_str(&String::from_utf8_lossy(&piece[..n])),
            }
        }
        &self.1
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_see_it() {
    let (app, ada) = idle().await;
    let path = submit(&ada.client, "usage.report", json!({})).await;
    let token = token_with(&app, &ada, "watcher", &["job:read"]).await;
    let mut stream = Open::new(&app, &token, &path).await;
    let told = stream.read_to(Some("queued")).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    // Both in one transaction: whoever is told of the end had the right taken from them.
    let schema = bulkhead_tenancy::SchemaName::from(ada.tenant);
    let revoke = format!(
        "BEGIN; DELETE FROM {schema}.role_permissions WHERE permission = 'job:read' AND role_id IN \
         (SELECT id FROM {schema}.roles WHERE name = 'watcher'); \
         UPDATE control.jobs SET state = 'cancelled', finished_at = now() WHERE kind = 'usage.report'; COMMIT"
    );
    run(&mut app.db.connect("postgres").await, &revoke).await;
    let told = stream.read_to(None).await;
    assert!(!told.contains("cancelled"), "{told}");
    // Who may still see it is told.
    let all = watch(&ada.client, &path).await;
    assert_eq!(all.last().unwrap().2["state"], "cancelled", "{all:?}");
}
