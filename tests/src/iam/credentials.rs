//! Addresses are verified and passwords renewed through the mailbox, and asking for it tells nothing.

use std::sync::Arc;

use bulkhead_iam::credentials::{CredentialError, service};
use bulkhead_kernel::{email::Email, ids::IdentityId, secret::Secret};
use bulkhead_mail::links::{Purpose, service as links};
use futures_util::future::join_all;

use super::{Desk, origin, principal};
use crate::harness::PASSWORD;

const OTHER: &str = "quite another password";

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

/// A link's secret as a mail of ours would carry it: its hash goes into the database by hand.
async fn link(desk: &Desk, to: IdentityId, purpose: &str, lifetime: &str) -> Secret {
    use sha2::{Digest, Sha256};
    let secret: [u8; 32] = Sha256::digest(uuid::Uuid::now_v7().as_bytes()).into();
    let hash = format!("{:x}", Sha256::digest(secret));
    let now = desk.clock.now();
    desk.run(&format!(
        "INSERT INTO control.mail_links (secret_hash, identity_id, purpose, created_at, expires_at) \
         VALUES ('\\x{hash}', '{}', '{purpose}', '{now}', '{now}'::timestamptz + interval '{lifetime}')",
        to.uuid()
    ))
    .await;
    Secret::new(base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        secret,
    ))
}

/// The jobs that wait, as kind of mail, in the order they were asked for; and how much else is kept.
async fn asked(desk: &Desk) -> Vec<String> {
    let mut connection = desk.test.connect("postgres").await;
    sqlx::query_scalar!(
        r#"SELECT payload ->> 'template' AS "template!" FROM control.jobs WHERE kind = 'mail.send' ORDER BY id"#
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

async fn is_verified(desk: &Desk, who: IdentityId) -> bool {
    let me = bulkhead_iam::identities::service::me(&desk.iam, who).await.unwrap();
    me.is_email_verified
}

async fn reset(desk: &Desk, token: &Secret, password: &str) -> Result<String, CredentialError> {
    service::reset_password(&origin(), &desk.iam, token, Secret::new(password)).await
}

#[tokio::test]
async fn a_link_that_is_no_link_of_this_purpose_or_not_any_more_verifies_nothing() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let late = link(&desk, ada, "verify_email", "0 seconds").await;
    let other = link(&desk, ada, "reset_password", "1 hour").await;
    let nobodys = Secret::new("A".repeat(43));
    for wrong in [&late, &other, &nobodys, &Secret::new(""), &Secret::new("é\0")] {
        let answer = service::verify_email(&desk.iam, wrong).await;
        assert!(matches!(answer, Err(CredentialError::LinkInvalid)));
        assert!(matches!(reset(&desk, wrong, "short").await, Err(CredentialError::LinkInvalid)) || *wrong == other);
    }
    assert!(!is_verified(&desk, ada).await);
}

#[tokio::test]
async fn a_link_verifies_once_and_takes_the_others_with_it() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let [first, second] = [
        link(&desk, ada, "verify_email", "1 hour").await,
        link(&desk, ada, "verify_email", "1 hour").await,
    ];
    service::verify_email(&desk.iam, &first).await.unwrap();
    assert!(is_verified(&desk, ada).await);
    for used in [&first, &second] {
        let answer = service::verify_email(&desk.iam, used).await;
        assert!(matches!(answer, Err(CredentialError::LinkInvalid)));
    }
}

#[tokio::test]
async fn of_many_who_follow_one_link_at_once_one_gets_through() {
    let desk = Arc::new(Desk::new().await);
    let ada = desk.register("ada@example.com").await;
    let token = link(&desk, ada, "reset_password", "1 hour").await;
    let attempts = (0..8).map(|n| {
        let (desk, token) = (Arc::clone(&desk), token.clone());
        async move { reset(&desk, &token, &format!("{OTHER} {n}")).await.is_ok() }
    });
    let n_done = join_all(attempts).await.into_iter().filter(|is_done| *is_done).count();
    assert_eq!(n_done, 1);
}

#[tokio::test]
async fn asking_for_a_mail_leaves_one_job_whoever_it_is_for() {
    let desk = Desk::new().await;
    for name in ["new", "verified", "disabled"] {
        desk.register(&format!("{name}@example.com")).await;
    }
    desk.run("UPDATE control.identities SET email_verified_at = now() WHERE email = 'verified@example.com'")
        .await;
    desk.run("UPDATE control.identities SET status = 'disabled' WHERE email = 'disabled@example.com'")
        .await;
    desk.run("DELETE FROM control.jobs").await;
    let everybody = [
        "new@example.com",
        "verified@example.com",
        "disabled@example.com",
        "unknown@example.com",
    ];
    for address in everybody {
        // The second one finds the first still waiting.
        for _ in 0..2 {
            service::ask_verification(&origin(), &desk.iam, &email(address))
                .await
                .unwrap();
        }
    }
    assert_eq!(asked(&desk).await, ["account_created", "nothing", "nothing", "nothing"]);
    desk.run("DELETE FROM control.jobs").await;
    for address in everybody {
        for _ in 0..2 {
            service::ask_reset(&origin(), &desk.iam, &email(address)).await.unwrap();
        }
    }
    assert_eq!(
        asked(&desk).await,
        ["password_reset", "password_reset", "nothing", "nothing"]
    );
}

#[tokio::test]
async fn a_reset_ends_every_session_and_verifies_the_address_and_a_refused_password_costs_no_link() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let before = desk.sign_in("ada@example.com").await;
    let token = link(&desk, ada, "reset_password", "1 hour").await;
    for weak in ["short", "password", "ADA@example.com"] {
        assert!(matches!(
            reset(&desk, &token, weak).await,
            Err(CredentialError::Refused(_))
        ));
    }
    assert!(principal(&desk, &before).await.is_ok());
    assert_eq!(reset(&desk, &token, OTHER).await.unwrap(), "ada@example.com");
    assert!(principal(&desk, &before).await.is_err());
    assert!(is_verified(&desk, ada).await);
    assert!(matches!(
        reset(&desk, &token, OTHER).await,
        Err(CredentialError::LinkInvalid)
    ));
    assert!(desk.try_sign_in("ada@example.com", PASSWORD, None).await.is_err());
    assert!(desk.try_sign_in("ada@example.com", OTHER, None).await.is_ok());
    assert_eq!(asked(&desk).await.last().unwrap(), "password_changed");
}

#[tokio::test]
async fn a_change_needs_the_present_password_and_ends_all_sessions_but_its_own() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let (here, there) = (
        desk.sign_in("ada@example.com").await,
        desk.sign_in("ada@example.com").await,
    );
    let forgotten = link(&desk, ada, "reset_password", "1 hour").await;
    let caller = principal(&desk, &here).await.unwrap();
    let change = async |present: &str, new: &str| {
        let (present, new) = (Secret::new(present), Secret::new(new));
        service::change_password(&origin(), &desk.iam, &caller, present, new).await
    };
    assert!(matches!(
        change("wrong password", OTHER).await,
        Err(CredentialError::WrongPassword)
    ));
    assert!(matches!(
        change(&"x".repeat(100_000), OTHER).await,
        Err(CredentialError::WrongPassword)
    ));
    assert!(matches!(
        change(PASSWORD, "short").await,
        Err(CredentialError::Refused(_))
    ));
    assert!(principal(&desk, &there).await.is_ok());
    change(PASSWORD, OTHER).await.unwrap();
    assert!(principal(&desk, &here).await.is_ok());
    assert!(principal(&desk, &there).await.is_err());
    assert!(desk.try_sign_in("ada@example.com", OTHER, None).await.is_ok());
    assert!(matches!(
        reset(&desk, &forgotten, OTHER).await,
        Err(CredentialError::LinkInvalid)
    ));
}

#[tokio::test]
async fn a_link_that_was_only_looked_at_still_works() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let token = link(&desk, ada, "reset_password", "1 hour").await;
    let mut tx = desk.db.control().await.unwrap();
    for _ in 0..2 {
        let found = links::find(&mut tx, Purpose::ResetPassword, token.expose(), desk.clock.now()).await;
        assert_eq!(found.unwrap(), Some(ada));
    }
}
