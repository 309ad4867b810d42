//! Who works on which VM: leases on `control.vm_work`, by the database's clock alone.
//!
//! While a lease runs, `due_at` equals `lease_until`: a worker that dies leaves a row that is due when its lease ends,
//! and a change that comes meanwhile shows because it sets `due_at` to something else.

mod store;

pub(super) use store::{claim, claim_one, find_next_due, millis, release};
