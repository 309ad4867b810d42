//! Signing keys change under load: two API processes, about fifty sign-ins a second between them, and three rotations by
//! the product's own command. Every token is shown to both processes at once and once more later; one refusal fails the run.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    Options,
    http::{Connection, get, request},
    postgres::Server,
    report::{print, progress},
    run::prepare,
    stack::Log,
    tenants::{PASSWORD, sign_up},
};

const ROTATIONS: usize = 3;

/// Sign-ins a second, over all lanes.
const RATE: u32 = 50;

/// Callers side by side, each with a connection to both processes.
const LANES: u32 = 10;

/// Seconds from the announcement of a key until it signs. Each process looks for new keys once a second.
const AFTER_SECS: &str = "5";

/// How long a new key may take until both processes sign with it.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long the load goes on before the first rotation and after each.
const REST: Duration = Duration::from_secs(4);

/// What all lanes saw.
#[derive(Default)]
struct Seen {
    n_signed_in: u64,
    n_verified: u64,
    failures: Vec<String>,
    /// The keys that each process signed with.
    keys: [BTreeSet<String>; 2],
}

/// Runs it and prints one line.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let settings = prepare(options, &Server::of(&options.database_url)?).await?;
    let _worker = settings.worker().await?;
    let processes = [
        settings.api("api-0", Log::File, None).await?,
        settings.api("api-1", Log::File, None).await?,
    ];
    let addresses = [processes[0].address, processes[1].address];
    sign_up(addresses[0], 1, 1).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(sign_in_and_verify(addresses, lane as usize % 2, Arc::clone(&seen)));
    }
    let began = Instant::now();
    for rotation in 1..=ROTATIONS {
        sleep(REST).await;
        settings
            .api_command(&["rotate-keys", "--after-secs", AFTER_SECS])
            .await?;
        let announced = Instant::now();
        while lock(&seen).keys.iter().any(|keys| keys.len() <= rotation) {
            ensure!(announced.elapsed() < PATIENCE, "the key {rotation} never signed");
            ensure!(lanes.try_join_next().is_none(), "a caller gave up");
            sleep(Duration::from_millis(100)).await;
        }
        progress(&format!(
            "rotation {rotation} of {ROTATIONS}: both processes sign with the new key"
        ));
    }
    sleep(REST).await;
    let took = began.elapsed();
    lanes.shutdown().await;
    let seen = lock(&seen);
    let per_second = (u128::from(seen.n_signed_in) * 1000 / took.as_millis()).to_string();
    print(&format!(
        "{ROTATIONS} rotations, 2 processes, {} s: {} sign-ins ({per_second} a second), {} verifications, {} keys, {} failures",
        took.as_secs(),
        seen.n_signed_in,
        seen.n_verified,
        seen.keys[0].union(&seen.keys[1]).count(),
        seen.failures.len()
    ))?;
    if let Some(first) = seen.failures.first() {
        bail!("the first failure: {first}");
    }
    Ok(())
}

/// One caller. It signs in at one process, and shows the new token and an old one to both.
async fn sign_in_and_verify(addresses: [SocketAddr; 2], home: usize, seen: Arc<Mutex<Seen>>) -> anyhow::Result<()> {
    let mut connections = [
        Connection::open(addresses[0]).await?,
        Connection::open(addresses[1]).await?,
    ];
    let credentials = json!({"email": "founder-0@bench.example", "password": PASSWORD}).to_string();
    let mut tokens: Vec<String> = Vec::new();
    let mut clock = interval(Duration::from_secs(1) * LANES / RATE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        clock.tick().await;
        let answer = connections[home]
            .call(&request("POST", "/api/v1/auth/login", None, &[], &credentials))
            .await?;
        let Some(token) = answer.body["access_token"].as_str() else {
            lock(&seen)
                .failures
                .push(format!("sign-in: {} {}", answer.status, answer.body));
            continue;
        };
        tokens.push(token.to_owned());
        {
            let mut seen = lock(&seen);
            seen.n_signed_in += 1;
            seen.keys[home].insert(key_of(token)?);
        }
        let old = &tokens[tokens.len() / 2];
        for token in [token, old] {
            for connection in &mut connections {
                let answer = connection.call(&get("/api/v1/whoami", Some(token))).await?;
                let mut seen = lock(&seen);
                seen.n_verified += 1;
                if answer.status != 200 {
                    seen.failures.push(format!("whoami: {} {}", answer.status, answer.body));
                }
            }
        }
    }
}

/// The id of the key that signed it.
fn key_of(token: &str) -> anyhow::Result<String> {
    let header = token.split('.').next().context("an empty token")?;
    let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(header["kid"].as_str().context("a token without kid")?.to_owned())
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
