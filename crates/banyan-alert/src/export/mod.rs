//! The same rules for other monitoring systems, as text.

mod alertmanager;
mod grafana;
mod prometheus;

pub use alertmanager::alertmanager;
pub use grafana::{Dashboard, dashboards};
pub use prometheus::prometheus;
