//! From names to addresses.

use std::{io, net::IpAddr};

use async_trait::async_trait;

/// Tells the addresses of a name. A seam: tests answer as hostile servers do.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses, in the order in which they should be tried.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// As the machine does.
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // A dot at the end keeps the machine from trying domains of its own.
        let is_whole = !name.contains('.') || name.ends_with('.');
        let name = if is_whole { name.to_owned() } else { format!("{name}.") };
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
