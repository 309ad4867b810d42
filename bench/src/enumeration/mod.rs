//! Whether a stranger learns from an answer, or from the time it takes, which addresses have an account.
//!
//! Pairs of requests take turns, one for an address with an account and one for an address without, in an order that
//! changes from pair to pair; each address is used once. What an attacker can make of the times is the area under the ROC
//! curve (AUC): how often a time of one class is longer than a time of the other; 0.5 is a coin. The bars are those of
//! reliability D8 and R-17: AUC at most 0.55, medians within 5 %, equal status and body. With 1,000 pairs the AUC of two
//! equal classes strays by 0.013 (one standard deviation, Mann and Whitney 1947).

mod classes;

use std::fs;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Options,
    http::{Connection, get, request},
    machine,
    postgres::{Server, Session},
    report::{print, progress},
    run::{DATABASE, prepare},
    stack::Log,
    tenants::{PASSWORD, sign_up, told},
};
use classes::Classes;

const PAIRS: usize = 1000;
const PAIRS_OF_A_SHORT_RUN: usize = 20;

/// What a stranger, or a tenant's owner, can ask about an address; signing in with a wrong password for every class of
/// account.
#[derive(Debug, Clone, Copy)]
enum Question {
    SignIn,
    SignInDisabled,
    SignInUnverified,
    SignInWithoutPassword,
    Register,
    Forgot,
    Invite,
}

/// Who invites.
struct Owner {
    token: String,
    role: String,
}

impl Question {
    const ALL: [Self; 7] = [
        Self::SignIn,
        Self::SignInDisabled,
        Self::SignInUnverified,
        Self::SignInWithoutPassword,
        Self::Register,
        Self::Forgot,
        Self::Invite,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignInDisabled => "sign-in-disabled",
            Self::SignInUnverified => "sign-in-unverified",
            Self::SignInWithoutPassword => "sign-in-no-password",
            Self::Register => "register",
            Self::Forgot => "forgot",
            Self::Invite => "invite",
        }
    }

    fn request(self, owner: &Owner, email: &str) -> Vec<u8> {
        let (path, token, body) = match self {
            Self::SignIn | Self::SignInDisabled | Self::SignInUnverified | Self::SignInWithoutPassword => (
                "/api/v1/auth/login",
                None,
                json!({"email": email, "password": "not the right one"}),
            ),
            Self::Register => (
                "/api/v1/auth/register",
                None,
                json!({"email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace"}),
            ),
            Self::Forgot => ("/api/v1/auth/password/forgot", None, json!({"email": email})),
            Self::Invite => (
                "/api/v1/invitations",
                Some(owner.token.as_str()),
                json!({"email": email, "role_ids": [owner.role]}),
            ),
        };
        request("POST", path, token, &[], &body.to_string())
    }
}

/// Everything, and a failure if an answer tells the classes apart.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let pairs = if options.short { PAIRS_OF_A_SHORT_RUN } else { PAIRS };
    let server = Server::of(&options.database_url)?;
    let settings = prepare(options, &server).await?.with(&[
        // No limit may answer in place of the product; each address is asked for once anyway.
        ("AUTH__SIGN_IN_FAILURES_PER_ADDRESS", "100000"),
        ("AUTH__MAILS_PER_ADDRESS", "100000"),
        ("TENANTS__MAX_PENDING_INVITATIONS", "100000"),
    ]);
    let mut session = Session::open(&server, options.database_url.username(), DATABASE).await?;
    let worker = settings.worker().await?;
    let api = settings.api("api", Log::Null, None).await?;
    let signed_up = sign_up(api.address, 1, 1).await?;
    worker.end().await?;
    api.end().await?;
    let strict = settings.with(&[("AUTH__REQUIRE_VERIFIED_EMAIL", "true")]);
    let api = strict.api("api-asked", Log::Null, None).await?;
    let token = &signed_up.personas.first().context("nobody signed up")?.token;
    let mut connection = Connection::open(api.address).await?;
    let owner = owner(&mut connection, token).await?;

    let mut text = format!(
        "Machine: {}\n\n{}",
        machine::line(&mut session).await?,
        classes::COLUMNS
    );
    let mut is_told = false;
    for question in Question::ALL {
        progress(&format!("{}: {pairs} pairs", question.name()));
        session.query(&accounts(question, pairs)).await?;
        let classes = ask(question, &owner, &mut connection, pairs).await?;
        is_told |= classes.are_told_apart();
        text.push_str(&classes.line(question.name()));
    }
    fs::write(options.work_dir.join("enumeration.md"), &text)?;
    print(&text)?;
    if is_told && !options.short {
        bail!("an answer tells who has an account");
    }
    Ok(())
}

/// Asks for both classes in turn.
async fn ask(question: Question, owner: &Owner, connection: &mut Connection, pairs: usize) -> anyhow::Result<Classes> {
    let mut classes = Classes::default();
    for pair in 0..pairs {
        // Which comes first must not follow a pattern that the server's own rhythm could have: a few bits of a hash.
        let is_known_first = pair.wrapping_mul(0x9E37_79B9) >> 13 & 1 == 0;
        for is_known in [is_known_first, !is_known_first] {
            let email = address(question, is_known, pair);
            let bytes = question.request(owner, &email);
            let asked = Instant::now();
            let answer = connection.call(&bytes).await?;
            let took = asked.elapsed();
            if answer.status == 429 || answer.status >= 500 {
                bail!("{}: {}", question.name(), told(&answer));
            }
            classes.note(is_known, took, (answer.status, shape(answer.body)));
        }
    }
    Ok(classes)
}

/// The body without what differs between any two answers.
fn shape(mut body: Value) -> Value {
    for own in ["email", "id", "instance", "created_at", "expires_at"] {
        if let Some(value) = body.get_mut(own) {
            *value = json!("own");
        }
    }
    body
}

/// Both classes look alike, and no address is asked for twice.
fn address(question: Question, is_known: bool, pair: usize) -> String {
    let class = if is_known { 'k' } else { 'u' };
    format!("{}-{class}-{pair:05}@bench.example", question.name())
}

/// The accounts of the known class: copies of the founder's, whose password they have where they have one.
fn accounts(question: Question, pairs: usize) -> String {
    let address = address(question, true, 0).replace("00000@", "' || lpad(n::text, 5, '0') || '@");
    let (hash, status, verified) = match question {
        Question::SignInDisabled => ("password_hash", "disabled", "now()"),
        Question::SignInUnverified => ("password_hash", "active", "NULL"),
        Question::SignInWithoutPassword => ("NULL", "active", "now()"),
        _ => ("password_hash", "active", "now()"),
    };
    format!(
        "INSERT INTO control.identities (id, email, password_hash, first_name, last_name, status, email_verified_at) \
         SELECT gen_random_uuid(), '{address}', {hash}, first_name, last_name, '{status}', {verified} \
         FROM control.identities, generate_series(0, {pairs} - 1) AS n \
         WHERE email = 'founder-0@bench.example'; \
         ANALYZE control.identities"
    )
}

async fn owner(connection: &mut Connection, token: &str) -> anyhow::Result<Owner> {
    let roles = connection.call(&get("/api/v1/roles", Some(token))).await?;
    let list = roles.body.as_array();
    let member = list.and_then(|roles| roles.iter().find(|role| role["name"] == "member"));
    let role = member.and_then(|role| role["id"].as_str());
    Ok(Owner {
        token: token.to_owned(),
        role: role
            .with_context(|| format!("no role member: {}", told(&roles)))?
            .to_owned(),
    })
}
