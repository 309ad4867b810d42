//! `tenants`: what operators do with tenants from a terminal.

use std::time::Duration;

use bulkhead_kernel::{
    config::Section,
    fault::Fault as _,
    ids::{MoveId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{Cluster, Db, TenantSelector};
use bulkhead_tenants::moves::{Move, MoveError, MoveState, service};
use clap::Subcommand;
use tokio::time::interval;

use super::{CliError, say};

/// Between two looks at a move.
const LOOK: Duration = Duration::from_millis(500);

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub(super) enum Tenants {
    /// Move a tenant to another cluster; a worker carries it out, and this waits for the end
    Move {
        /// The id or the slug of the tenant
        tenant: String,
        /// The name of the cluster, or `home`
        #[arg(long = "to", value_name = "CLUSTER")]
        to: String,
    },
    /// Have Citus move a tenant to another node of the cluster it lives in, and wait for the end
    MoveToNode {
        /// The id or the slug of the tenant
        tenant: String,
        /// Host and port as Citus knows them
        #[arg(long = "node", value_name = "HOST:PORT")]
        node: String,
    },
    /// Call a move off and wait for the end
    AbortMove {
        /// The id or the slug of the tenant
        tenant: String,
        /// The id of the move
        id: MoveId,
    },
}

impl Tenants {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let config = super::config(&[Section::Database])?;
        let db = Db::new(&config.database)?;
        let origin = Origin::system("cli");
        let (begun, wanted) = match self {
            Self::Move { tenant, to } => {
                let tenant = find(&db, &tenant).await?;
                let begun = service::start(&origin, &db, tenant, &Cluster::from(to.as_str())).await;
                (begun.map_err(explained)?, MoveState::Done)
            }
            Self::MoveToNode { tenant, node } => {
                let tenant = find(&db, &tenant).await?;
                let moved = service::move_to_node(&origin, &db, tenant, parse_node(&node)?).await;
                return moved.map_err(explained);
            }
            Self::AbortMove { tenant, id } => {
                let tenant = find(&db, &tenant).await?;
                let aborted = service::abort(&origin, &db, tenant, id).await;
                (aborted.map_err(explained)?, MoveState::Aborted)
            }
        };
        watch(&db, begun, wanted).await
    }
}

async fn find(db: &Db, name: &str) -> Result<TenantId, CliError> {
    let by_id = name.parse().map(TenantSelector::Id);
    let selector = by_id.or_else(|_| name.parse().map(TenantSelector::Slug));
    let selector = selector.map_err(|_| CliError::Argument(format!("{name} is neither a tenant's id nor a slug")))?;
    Ok(db.resolve(&selector).await?.id)
}

fn parse_node(text: &str) -> Result<(&str, u16), CliError> {
    let parts = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| CliError::Argument(format!("{text} is no HOST:PORT")))
}

/// Tells each step; fails unless the move ends as wanted.
async fn watch(db: &Db, mut moved: Move, wanted: MoveState) -> Result<(), CliError> {
    let mut ticks = interval(LOOK);
    let mut told = None;
    loop {
        if told != Some(moved.state) {
            told = Some(moved.state);
            say(&format!(
                "{} {} {}",
                moved.id,
                moved.state.as_str(),
                moved.error.as_deref().unwrap_or_default()
            ));
        }
        if moved.state.is_finished() {
            break;
        }
        ticks.tick().await;
        moved = service::get(db, moved.tenant, moved.id).await.map_err(explained)?;
    }
    if moved.state == wanted {
        say(&format!(
            "{} rows of {} tables, {} bytes",
            moved.n_rows, moved.n_tables, moved.n_bytes
        ));
        return Ok(());
    }
    Err(CliError::Fallen(format!("{} is {}", moved.id, moved.state.as_str())))
}

/// What is wrong with the arguments is told in full.
fn explained(error: MoveError) -> CliError {
    let told: Vec<_> = error
        .violations()
        .into_iter()
        .map(|violation| violation.detail)
        .collect();
    if told.is_empty() {
        CliError::Move(error)
    } else {
        CliError::Argument(told.join("; "))
    }
}
