//! People who use the product.

use bulkhead_kernel::ids::TenantId;
use serde_json::json;

use super::{App, Client, eventually, run};

/// Every persona's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Somebody who signed a company up, signed in to it.
pub struct Founder {
    pub email: String,
    pub tenant: TenantId,
    pub slug: String,
    pub token: String,
    pub refresh_token: String,
    pub client: Client,
}

impl App {
    /// Registers somebody and signs in, without any tenant. Gives the answer of the sign-in.
    pub async fn register(&self, email: &str) -> serde_json::Value {
        let person = json!({ "email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace" });
        self.client.post("/api/v1/auth/register", &person).await.expect(201);
        let credentials = json!({ "email": email, "password": PASSWORD });
        self.client.post("/api/v1/auth/login", &credentials).await.expect(200)
    }

    /// Somebody who runs the platform, signed in without any tenant.
    pub async fn operator(&self) -> Client {
        self.operator_with("operator@platform.example").await.0
    }

    /// The same for another address; also the access token.
    pub async fn operator_with(&self, email: &str) -> (Client, String) {
        let pair = self.register(email).await;
        let promote = format!(
            "INSERT INTO control.operators (identity_id, created_by) \
             SELECT id, 'system' FROM control.identities WHERE email = '{email}'"
        );
        run(&mut self.db.connect("postgres").await, &promote).await;
        let token = pair["access_token"].as_str().unwrap();
        (self.client.with_token(token), token.to_owned())
    }

    /// Registers somebody who founds a company of this name, and waits until it is open.
    pub async fn founder(&self, company: &str) -> Founder {
        let email = format!("founder@{company}.example");
        let pair = self.register(&email).await;
        let client = self.client.with_token(pair["access_token"].as_str().unwrap());
        let created = client
            .post("/api/v1/tenants", &json!({ "name": company }))
            .await
            .expect(202);
        let id = created["id"].as_str().unwrap().to_owned();
        eventually("the tenant is active", async || {
            let tenant = client.get(&format!("/api/v1/tenants/{id}")).await.expect(200);
            (tenant["status"] == "active").then_some(())
        })
        .await;
        self.enter(&email, id.parse().unwrap()).await
    }

    /// Signs a known person in to a tenant.
    pub async fn enter(&self, email: &str, tenant: TenantId) -> Founder {
        let credentials = json!({ "email": email, "password": PASSWORD, "org_id": tenant });
        let pair = self.client.post("/api/v1/auth/login", &credentials).await.expect(200);
        let token = pair["access_token"].as_str().unwrap().to_owned();
        let client = self.client.with_token(&token);
        let whoami = client.get("/api/v1/whoami").await.expect(200);
        Founder {
            email: email.into(),
            tenant,
            slug: whoami["tenant"]["slug"].as_str().unwrap_or_default().into(),
            refresh_token: pair["refresh_token"].as_str().unwrap().into(),
            token,
            client,
        }
    }
}
