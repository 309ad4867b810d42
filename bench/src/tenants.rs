//! Signing tenants up through the API, as their founders do it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    http::{Answer, Connection, get, request},
    script::uuid_of,
};

/// How many sign up at a time once the sample is taken.
const AT_A_TIME: usize = 8;

/// How long a tenant may take to become active.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A tenant's only member, with the ids as PostgreSQL writes them.
#[derive(Debug, Clone)]
pub(crate) struct Persona {
    /// The tenant.
    pub(crate) tenant: String,
    /// The member.
    pub(crate) identity: String,
    /// The session behind the token.
    pub(crate) session: String,
    /// An access token bound to the tenant.
    pub(crate) token: String,
}

/// All personas, and the microseconds that tenants took from the request until they were active.
pub(crate) struct SignedUp {
    pub(crate) personas: Vec<Persona>,
    pub(crate) creation_us: Vec<u32>,
}

/// Signs up `count` tenants; the first `sample` one after the other, to see how long one takes.
pub(crate) async fn sign_up(address: SocketAddr, count: usize, sample: usize) -> anyhow::Result<SignedUp> {
    let mut connection = Connection::open(address).await?;
    let (mut personas, mut creation_us) = (Vec::new(), Vec::new());
    for number in 0..sample.min(count) {
        let (persona, took) = found(&mut connection, number).await?;
        personas.push(persona);
        creation_us.push(u32::try_from(took.as_micros())?);
    }
    let mut tasks = JoinSet::new();
    for lane in 0..AT_A_TIME {
        tasks.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut personas = Vec::new();
            for number in (sample + lane..count).step_by(AT_A_TIME) {
                personas.push(found(&mut connection, number).await?.0);
            }
            anyhow::Ok(personas)
        });
    }
    for lane in tasks.join_all().await {
        personas.extend(lane?);
    }
    creation_us.sort_unstable();
    Ok(SignedUp { personas, creation_us })
}

/// Registers a founder, creates the tenant and signs in to it.
async fn found(connection: &mut Connection, number: usize) -> anyhow::Result<(Persona, Duration)> {
    let email = format!("founder-{number}@bench.example");
    let person = json!({"email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace"});
    post(connection, "/api/v1/auth/register", None, &person, &[201]).await?;
    let credentials = json!({"email": email, "password": PASSWORD});
    let pair = post(connection, "/api/v1/auth/login", None, &credentials, &[200]).await?;
    let (tenant, took) = create(connection, text(&pair.body, "/access_token")?, number).await?;
    let credentials = json!({"email": email, "password": PASSWORD, "org_id": tenant});
    let pair = post(connection, "/api/v1/auth/login", None, &credentials, &[200]).await?;
    let token = text(&pair.body, "/access_token")?;
    let claims = token.split('.').nth(1).context("the token is no JWT")?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    let persona = Persona {
        tenant: uuid_of(&tenant)?,
        identity: uuid_of(text(&claims, "/sub")?)?,
        session: uuid_of(text(&claims, "/sid")?)?,
        token: token.to_owned(),
    };
    Ok((persona, took))
}

/// The new tenant's id, and the time from the request until it was active.
async fn create(connection: &mut Connection, token: &str, number: usize) -> anyhow::Result<(String, Duration)> {
    let body = json!({"name": format!("Bench {number}"), "slug": format!("bench-{number}")}).to_string();
    let headers = [("prefer", "wait=10"), ("idempotency-key", &format!("bench-{number}"))];
    let bytes = request("POST", "/api/v1/tenants", Some(token), &headers, &body);
    let started = Instant::now();
    let created = connection.call(&bytes).await?;
    let tenant = text(&created.body, "/id").with_context(|| format!("creating a tenant: {}", told(&created)))?;
    let mut is_active = created.status == 201;
    while !is_active {
        if started.elapsed() > PATIENCE {
            bail!("tenant {tenant} did not become active");
        }
        sleep(Duration::from_millis(5)).await;
        let path = format!("/api/v1/tenants/{tenant}");
        let seen = connection.call(&get(&path, Some(token))).await?;
        is_active = seen.body["status"] == "active";
    }
    Ok((tenant.to_owned(), started.elapsed()))
}

async fn post(
    connection: &mut Connection,
    path: &str,
    token: Option<&str>,
    body: &Value,
    expected: &[u16],
) -> anyhow::Result<Answer> {
    let bytes = request("POST", path, token, &[], &body.to_string());
    let answer = connection.call(&bytes).await?;
    if !expected.contains(&answer.status) {
        bail!("POST {path}: {}", told(&answer));
    }
    Ok(answer)
}

/// The text at a JSON pointer.
fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("the answer has no text at {pointer}"))
}

/// An unexpected answer in words.
pub(crate) fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.body)
}
