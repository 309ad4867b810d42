//! What surrounds every handler, from the outside in: [`observe`] (id, log line, metrics, problem bodies, security
//! headers), CORS, [`guard`] (panics and the deadline of the whole request).

mod cors;
mod guard;
mod headers;
mod observe;
mod record;
mod request_id;

pub use cors::cors;
pub use guard::guard;
pub use observe::{Observer, observe};
pub use record::RequestRecord;
pub use request_id::RequestId;
