//! What a role is told: one complete, immutable, numbered value per role, published as a file.

mod edge;
pub mod pgproxy;

pub use edge::{EdgeSnapshot, Endpoint, EndpointState, Listener, SHIELD, Speaks, Upstream, edge};
pub use pgproxy::PgproxySnapshot;
