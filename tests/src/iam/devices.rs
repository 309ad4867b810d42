//! Sessions as a list, ended from elsewhere and everywhere, on every process; names that follow.

use bulkhead_iam::{
    Person,
    identities::{self, Rename},
    members,
    sessions::{SessionError, devices, service as sessions},
};
use bulkhead_kernel::{ids::SessionId, page::PageRequest};
use chrono::TimeDelta;

use super::{Desk, origin, principal};
use crate::harness::eventually;

fn page() -> PageRequest {
    PageRequest::new(1, 20).unwrap()
}

async fn listed(desk: &Desk, caller: &Person) -> Vec<(SessionId, bool)> {
    let found = devices::list(&desk.iam, caller, page()).await.unwrap();
    assert_eq!(usize::try_from(found.total).unwrap(), found.items.len());
    let items = found.items.into_iter();
    items.map(|device| (device.session, device.is_current)).collect()
}

#[tokio::test]
async fn the_list_has_the_callers_open_sessions_the_last_used_first() {
    let desk = Desk::new().await;
    desk.register("ada@example.com").await;
    desk.register("bob@example.com").await;
    desk.sign_in("bob@example.com").await;
    let old = desk.sign_in("ada@example.com").await;
    desk.clock.advance(TimeDelta::seconds(60));
    let new = desk.sign_in("ada@example.com").await;
    let gone = desk.sign_in("ada@example.com").await;
    sessions::sign_out(&desk.iam, gone.session).await.unwrap();
    let caller = principal(&desk, &old).await.unwrap();
    assert_eq!(
        listed(&desk, &caller).await,
        [(new.session, false), (old.session, true)]
    );
    desk.clock.advance(TimeDelta::seconds(60));
    sessions::refresh(&desk.iam, &old.refresh_token, None)
        .await
        .ok()
        .unwrap();
    assert_eq!(
        listed(&desk, &caller).await,
        [(old.session, true), (new.session, false)]
    );
    // One that rested too long cannot be carried on.
    desk.clock.advance(TimeDelta::seconds(14 * 86_400 - 60));
    assert_eq!(listed(&desk, &caller).await, [(old.session, true)]);
}

#[tokio::test]
async fn only_ones_own_open_sessions_can_be_ended() {
    let desk = Desk::new().await;
    desk.register("ada@example.com").await;
    desk.register("bob@example.com").await;
    let (here, there) = (
        desk.sign_in("ada@example.com").await,
        desk.sign_in("ada@example.com").await,
    );
    let bobs = desk.sign_in("bob@example.com").await;
    let caller = principal(&desk, &here).await.unwrap();
    for strange in [bobs.session, SessionId::new()] {
        let answer = devices::end(&desk.iam, &caller, strange).await;
        assert!(matches!(answer, Err(SessionError::NotFound)));
    }
    assert!(principal(&desk, &bobs).await.is_ok());
    devices::end(&desk.iam, &caller, there.session).await.unwrap();
    assert!(principal(&desk, &there).await.is_err());
    assert!(principal(&desk, &here).await.is_ok());
    let again = devices::end(&desk.iam, &caller, there.session).await;
    assert!(matches!(again, Err(SessionError::NotFound)));
    assert!(sessions::refresh(&desk.iam, &there.refresh_token, None).await.is_err());
}

#[tokio::test]
async fn signing_out_everywhere_bites_on_another_process_although_it_remembers_who_asked() {
    let mut desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    let pair = desk.sign_in("ada@example.com").await;
    let (_, elsewhere) = desk.another();
    let look = async || members::service::authority(&elsewhere, acme, ada, pair.session).await;
    assert!(look().await.is_ok());
    sessions::sign_out_all(&desk.iam, ada).await.unwrap();
    let claims = elsewhere.tokens.verify(&pair.access_token).unwrap();
    assert!(sessions::principal(&elsewhere, &claims).await.is_err());
    eventually("the other process has forgotten", async || {
        look().await.err().map(|_| ())
    })
    .await;
    assert!(desk.enter(&pair, acme).await.is_err());
}

#[tokio::test]
async fn other_names_leave_a_job_for_each_tenant_and_change_only_what_is_given() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    for slug in ["acme", "bolt"] {
        desk.tenant(slug, ada).await;
    }
    assert!(Rename::parse(Some(""), Some("a\0b")).is_err_and(|violations| violations.len() == 2));
    let names = Rename::parse(None, Some(" King ")).unwrap();
    let me = identities::service::rename(&origin(), &desk.iam, ada, &names)
        .await
        .unwrap();
    assert_eq!((me.first_name.as_str(), me.last_name.as_str()), ("Ada", "King"));
    let mut connection = desk.test.connect("postgres").await;
    let payloads = sqlx::query_scalar!(
        r#"SELECT payload::text AS "payload!" FROM control.jobs WHERE kind = 'members.copy_names' AND tenant_id IS NOT NULL"#
    );
    let payloads = payloads.fetch_all(&mut connection).await.unwrap();
    assert_eq!(payloads.len(), 2);
    assert!(payloads.iter().all(|payload| !payload.contains("King")), "{payloads:?}");
}
