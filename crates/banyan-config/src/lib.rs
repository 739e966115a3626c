//! banyan.toml (with Procfile and secrets file) to one typed [`Config`], or every error at once.
//!
//! Only this crate gives text a meaning. Pure: the binary hands in [`Sources`], reading files through a closure.

mod database_url;
mod error;
pub mod expand;
mod load;
mod model;
mod name;
mod report;
mod secrets;
mod source;
pub mod template;
pub mod units;

pub use database_url::{DatabaseAddress, DatabaseUrlError};
pub use error::{At, Errors, Problem};
pub use load::{Loaded, load};
pub use model::{
    App, Balance, Config, Database, EdgeLimits, EdgeSettings, EdgeTable, EdgeTimeouts, ExternalDatabase,
    FileTemplate, Host, LiveProbe, ManagedDatabase, ProcessSettings, ProcessTable, ReadyProbe,
};
pub use name::{AppName, HostName, NameError, ProcessName};
pub use secrets::{Secret, Secrets};
pub use source::{FileError, FileText, Source, Sources};
pub use template::{Placeholder, RenderError, Template, TemplateError, TemplateErrorKind};
