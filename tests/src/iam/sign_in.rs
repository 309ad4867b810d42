//! Signing in: one answer for all who may not, and the tenant that the pair is bound to.

use bulkhead_iam::sessions::{SessionError, TokenPair, service as sessions};
use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_tenancy::TenantSelector;

use super::{Desk, principal};
use crate::harness::PASSWORD;

fn code(result: &Result<TokenPair, SessionError>) -> Code {
    result.as_ref().err().expect("a refusal").code()
}

fn slug(text: &str) -> Option<TenantSelector> {
    Some(TenantSelector::Slug(text.parse().unwrap()))
}

#[tokio::test]
async fn whoever_may_not_sign_in_gets_one_and_the_same_answer() {
    let desk = Desk::new().await;
    for name in ["known", "disabled", "federated"] {
        desk.register(&format!("{name}@example.com")).await;
    }
    desk.run("UPDATE control.identities SET status = 'disabled' WHERE email = 'disabled@example.com'")
        .await;
    desk.run("UPDATE control.identities SET password_hash = NULL WHERE email = 'federated@example.com'")
        .await;
    let long = "x".repeat(100_000);
    for (email, password) in [
        ("known@example.com", "wrong password"),
        ("known@example.com", ""),
        ("known@example.com", long.as_str()),
        ("known@example.com", "nul\0nul\0nul"),
        ("disabled@example.com", PASSWORD),
        ("disabled@example.com", "wrong password"),
        ("federated@example.com", PASSWORD),
        ("unknown@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("nul\0@example.com", PASSWORD),
    ] {
        for tenant in [None, slug("acme")] {
            let answer = desk.try_sign_in(email, password, tenant).await;
            assert!(
                matches!(answer, Err(SessionError::CredentialsInvalid)),
                "{email} {:.20}",
                password
            );
        }
    }
    assert!(desk.try_sign_in(" KNOWN@example.com ", PASSWORD, None).await.is_ok());
}

#[tokio::test]
async fn an_unverified_address_keeps_out_only_whoever_has_the_password_and_only_where_it_matters() {
    let strict = Desk::with(&[("BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL", "true")]).await;
    strict.register("ada@example.com").await;
    let with_password = strict.try_sign_in("ada@example.com", PASSWORD, None).await;
    assert_eq!(code(&with_password), Code::EmailUnverified);
    let without = strict.try_sign_in("ada@example.com", "wrong password", None).await;
    assert_eq!(code(&without), Code::CredentialsInvalid);
    strict
        .run("UPDATE control.identities SET email_verified_at = now()")
        .await;
    assert!(strict.try_sign_in("ada@example.com", PASSWORD, None).await.is_ok());

    let lenient = Desk::new().await;
    lenient.register("ada@example.com").await;
    assert!(lenient.try_sign_in("ada@example.com", PASSWORD, None).await.is_ok());
}

#[tokio::test]
async fn a_pair_is_bound_to_the_wanted_tenant_or_to_the_only_one() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let bob = desk.register("bob@example.com").await;
    let bound_to = async |tenant| {
        desk.try_sign_in("ada@example.com", PASSWORD, tenant)
            .await
            .ok()
            .unwrap()
            .tenant
    };

    assert_eq!(bound_to(None).await, None);
    let acme = desk.tenant("acme", ada).await;
    assert_eq!(bound_to(None).await, Some(acme));
    let globex = desk.tenant("globex", ada).await;
    assert_eq!(bound_to(None).await, None);
    assert_eq!(bound_to(slug("globex")).await, Some(globex));
    assert_eq!(bound_to(Some(TenantSelector::Id(acme))).await, Some(acme));
    let pair = desk
        .try_sign_in("ada@example.com", PASSWORD, slug("acme"))
        .await
        .ok()
        .unwrap();
    assert_eq!(desk.iam.tokens.verify(&pair.access_token).unwrap().tenant, Some(acme));

    desk.tenant("hooli", bob).await;
    for hidden in ["hooli", "nowhere"] {
        let refused = desk.try_sign_in("ada@example.com", PASSWORD, slug(hidden)).await;
        assert_eq!(code(&refused), Code::TenantNotFound, "{hidden}");
    }
    desk.run("UPDATE control.tenants SET status = 'suspended', suspension = 'full' WHERE slug = 'acme'")
        .await;
    let closed = desk.try_sign_in("ada@example.com", PASSWORD, slug("acme")).await;
    assert_eq!(code(&closed), Code::TenantNotActive);
    assert_eq!(
        bound_to(None).await,
        Some(globex),
        "a tenant that is closed does not count"
    );
    desk.run("UPDATE control.memberships SET status = 'inactive'").await;
    let left = desk.try_sign_in("ada@example.com", PASSWORD, slug("globex")).await;
    assert_eq!(code(&left), Code::TenantNotFound);
    assert_eq!(bound_to(None).await, None);
}

#[tokio::test]
async fn a_refresh_switches_tenants_and_a_refused_one_uses_nothing_up() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    let bob = desk.register("bob@example.com").await;
    let (acme, globex) = (desk.tenant("acme", ada).await, desk.tenant("globex", ada).await);
    desk.tenant("hooli", bob).await;
    let refresh = async |pair: &TokenPair, tenant| sessions::refresh(&desk.iam, &pair.refresh_token, tenant).await;

    let pair = desk
        .try_sign_in("ada@example.com", PASSWORD, slug("acme"))
        .await
        .ok()
        .unwrap();
    assert_eq!(code(&refresh(&pair, slug("hooli")).await), Code::TenantNotFound);
    let stayed = refresh(&pair, None).await.ok().unwrap();
    assert_eq!(stayed.tenant, Some(acme));
    let switched = refresh(&stayed, slug("globex")).await.ok().unwrap();
    assert_eq!(switched.tenant, Some(globex));
    assert_eq!(
        desk.iam.tokens.verify(&switched.access_token).unwrap().tenant,
        Some(globex)
    );
    let kept = refresh(&switched, None).await.ok().unwrap();
    assert_eq!(kept.tenant, Some(globex), "the switch lasts");
    desk.run(
        "DELETE FROM control.memberships WHERE tenant_id = (SELECT id FROM control.tenants WHERE slug = 'globex')",
    )
    .await;
    let unbound = refresh(&kept, None).await.ok().unwrap();
    assert_eq!(unbound.tenant, None, "whoever left is still signed in, but nowhere");
}

#[tokio::test]
async fn signing_out_ends_one_session_or_all_of_a_person() {
    let desk = Desk::new().await;
    let ada = desk.register("ada@example.com").await;
    desk.register("bob@example.com").await;
    let (here, there) = (
        desk.sign_in("ada@example.com").await,
        desk.sign_in("ada@example.com").await,
    );
    let bob = desk.sign_in("bob@example.com").await;

    sessions::sign_out(&desk.iam, here.session).await.unwrap();
    sessions::sign_out(&desk.iam, here.session).await.unwrap();
    assert!(matches!(principal(&desk, &here).await, Err(SessionError::Ended)));
    let refused = sessions::refresh(&desk.iam, &here.refresh_token, None).await;
    assert_eq!(code(&refused), Code::RefreshTokenInvalid);
    assert_eq!(principal(&desk, &there).await.unwrap().email, "ada@example.com");

    sessions::sign_out_all(&desk.iam, ada).await.unwrap();
    assert!(matches!(principal(&desk, &there).await, Err(SessionError::Ended)));
    assert_eq!(principal(&desk, &bob).await.unwrap().identity, bob.identity);
}

#[tokio::test]
async fn switching_an_account_off_ends_its_sessions() {
    let desk = Desk::new().await;
    desk.register("ada@example.com").await;
    let pair = desk.sign_in("ada@example.com").await;
    desk.run("UPDATE control.identities SET status = 'disabled'").await;
    assert!(matches!(principal(&desk, &pair).await, Err(SessionError::Ended)));
    let refused = sessions::refresh(&desk.iam, &pair.refresh_token, None).await;
    assert_eq!(code(&refused), Code::RefreshTokenInvalid);
}
