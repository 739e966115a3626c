//! What a role is told: one complete, immutable, numbered value per role, published as a file.

mod edge;
pub mod observe;
pub mod pgproxy;

pub use edge::among;
pub use edge::{EdgeSnapshot, Endpoint, EndpointState, LIMITS_URL, Listener, Speaks, Upstream, edge};
pub use observe::ObserveSnapshot;
pub use pgproxy::PgproxySnapshot;
