//! How much of each cluster is used, and whether it takes one more tenant.
//!
//! - A worker measures each cluster once a minute and writes the figures down at home; whoever asks reads one row.
//! - A cluster takes tenants while less than four fifths of every cap is used. What comes between two looks, and what the
//!   tenants there grow by, has the last fifth.
//! - One that was never measured takes tenants: nothing is known against it.
//!
//! Absent here: the caps themselves (settings), and which cluster new tenants go to first.

mod model;
pub mod service;
mod store;

pub use model::{Cap, ClusterUse, Full, Level};
