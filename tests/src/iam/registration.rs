//! Registering tells nothing about others.

use bulkhead_iam::identities::{self, Registered, Registration};
use bulkhead_kernel::secret::Secret;
use futures_util::future::join_all;

use super::{Desk, origin};
use crate::harness::PASSWORD;

async fn register(desk: &Desk, email: &str, password: &str, first_name: &str) -> Registered {
    let new = Registration::parse(email, &Secret::new(password), first_name, "Lovelace")
        .ok()
        .unwrap();
    identities::service::register(&origin(), &desk.iam, new).await.unwrap()
}

/// Everything kept about people, as text.
async fn people(desk: &Desk) -> Vec<String> {
    let mut connection = desk.test.connect("postgres").await;
    sqlx::query_scalar!(r#"SELECT row_to_json(i)::text AS "row!" FROM control.identities AS i ORDER BY email"#)
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

/// The templates of the mails to be sent, in the order they were asked for.
async fn mails(desk: &Desk) -> Vec<String> {
    let mut connection = desk.test.connect("postgres").await;
    sqlx::query_scalar!(
        r#"SELECT payload ->> 'template' AS "template!" FROM control.jobs WHERE kind = 'mail.send' ORDER BY id"#
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_known_address_is_answered_like_a_new_one_and_nothing_changes_but_a_mail() {
    let desk = Desk::new().await;
    let first = register(&desk, "Ada@Example.com", PASSWORD, "Ada").await;
    assert_eq!(first.email, "ada@example.com");
    let before = people(&desk).await;
    let second = register(&desk, "ada@example.com", "another fine password", "Mallory").await;
    assert_eq!(
        (second.email, second.first_name, second.status),
        (first.email, "Mallory".into(), first.status)
    );
    assert_eq!(people(&desk).await, before);
    assert_eq!(mails(&desk).await, ["account_created", "registration_attempted"]);
    assert!(desk.try_sign_in("ada@example.com", PASSWORD, None).await.is_ok());
    assert!(
        desk.try_sign_in("ada@example.com", "another fine password", None)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn one_address_registered_many_times_at_once_is_one_person() {
    let desk = Desk::new().await;
    let connections = join_all((0..8).map(|_| desk.db.control())).await;
    join_all(connections.into_iter().map(|tx| tx.unwrap().commit())).await;
    let attempts = (0..20).map(|_| register(&desk, "ada@example.com", PASSWORD, "Ada"));
    let answers = join_all(attempts).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(people(&desk).await.len(), 1);
}

#[tokio::test]
async fn a_letter_whose_lower_case_the_database_sees_differently_never_breaks_the_service() {
    let desk = Desk::new().await;
    for email in [
        "İ@example.com",
        "Ⅷ@example.com",
        "ẞ@example.com",
        "Ꭰ@example.com",
        "ᾈ@example.com",
    ] {
        let Ok(new) = Registration::parse(email, &Secret::new(PASSWORD), "Ada", "L") else {
            continue;
        };
        match identities::service::register(&origin(), &desk.iam, new).await {
            Ok(_) | Err(identities::IdentityError::Invalid(_)) => {}
            Err(error) => panic!("{email}: {error:?}"),
        }
    }
}
