//! What surrounds every handler, from the outside in: [`observe`] (id, log line, metrics, problem bodies, security
//! headers), CORS, [`note_refusals`] (for the audit log), [`guard`] (panics and the deadline of the whole request).

mod cors;
mod guard;
mod headers;
mod observe;
mod record;
mod refusals;
mod request_id;

pub use cors::cors;
pub use guard::guard;
pub use observe::{Observer, observe};
pub use record::RequestRecord;
pub use refusals::{Refusals, note_refusals};
pub use request_id::RequestId;
