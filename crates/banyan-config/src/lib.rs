//! banyan.toml (with Procfile and secrets file) to one typed [`Config`], or every error at once.
//!
//! Only this crate gives text a meaning. Pure: the binary hands in [`Sources`], reading files through a closure.

mod model;
mod name;
pub mod template;
pub mod units;

pub use model::{
    App, Balance, Config, Database, EdgeLimits, EdgeSettings, EdgeTable, EdgeTimeouts, ExternalDatabase,
    FileTemplate, Host, LiveProbe, ManagedDatabase, ProcessSettings, ProcessTable, ReadyProbe,
};
pub use name::{AppName, HostName, NameError, ProcessName};
pub use template::Template;
