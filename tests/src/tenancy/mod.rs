//! The compartments: who gets in, and what cannot get out.

mod connections;
mod copies;
mod doctor;
mod isolation;
mod plans;
mod poolers;
mod retirement;
mod schema;
mod shards;
