//! The compartments: who gets in, and what cannot get out.

mod connections;
mod isolation;
mod retirement;
mod schema;
mod shards;
