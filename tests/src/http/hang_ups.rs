//! Clients that hang up in the middle harm nobody.

use std::time::Duration;

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::harness::{App, Client, Founder, eventually};

const LANES: usize = 8;
const HANG_UPS_PER_LANE: usize = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_aborted_lists_harm_nobody() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    for (founder, machines) in [(&ada, 3), (&bob, 5)] {
        create_machines(founder, machines).await;
    }
    let address = app.api.url("public").trim_start_matches("http://").to_owned();
    let mut tasks = Vec::new();
    for lane in 0..LANES {
        let requests = [&ada, &bob].map(|founder| {
            format!(
                "GET /api/v1/vms?limit=20 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
                founder.token
            )
        });
        let address = address.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..HANG_UPS_PER_LANE {
                let Ok(mut socket) = TcpStream::connect(&address).await else {
                    continue;
                };
                let _ = socket.write_all(requests[round % 2].as_bytes()).await;
                tokio::time::sleep(Duration::from_micros(((round * 53 + lane * 211) % 3_000) as u64)).await;
                // A reset, not a polite end: the server notices at once.
                let _ = socket.set_zero_linger();
            }
        }));
    }
    for (founder, machines) in [(ada.client.clone(), 3), (bob.client.clone(), 5)] {
        tasks.push(tokio::spawn(read_honestly(founder, machines)));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut admin = app.db.connect("postgres").await;
    eventually("no session is left in a transaction", async || {
        let left = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!"
            FROM pg_stat_activity
            WHERE datname = current_database()
              AND state LIKE 'idle in transaction%'
            "#
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        (left == 0).then_some(())
    })
    .await;
}

async fn create_machines(founder: &Founder, count: usize) {
    let templates = founder.client.get("/api/v1/vm-templates").await.expect(200);
    for index in 0..count {
        let machine = json!({
            "name": format!("{}-{index}", founder.slug), "source_type": "template", "template_id": templates[0]["id"],
            "cpu": 2, "memory_gb": 4, "disk_gb": 40,
        });
        founder.client.post("/api/v1/vms", &machine).await.expect(202);
    }
}

/// Reads on while others hang up: never a foreign row, never a server error.
async fn read_honestly(client: Client, machines: usize) {
    let whoami = client.get("/api/v1/whoami").await.expect(200);
    let slug = whoami["tenant"]["slug"].as_str().unwrap();
    for _ in 0..500 {
        let list = client.get("/api/v1/vms?limit=20").await.expect(200);
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), machines);
        for item in items {
            assert!(
                item["name"].as_str().unwrap().starts_with(slug),
                "a row of another tenant: {item}"
            );
        }
    }
}
