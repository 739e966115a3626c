//! Runs the part of the Hurl file format that the RealWorld suite uses, over real HTTP/1.1 connections.
//!
//! An unknown construct is an error, never skipped: a suite that passes here has been checked in full. Not here: options,
//! cookies, redirects, retries, queries other than `jsonpath`. `tests/conformance/realworld.sh` runs the real hurl.

mod client;
mod expect;
mod parse;
mod run;
mod value;

pub use parse::{Entry, ParseError, Script, parse};
pub use run::{Failure, Report, run, run_folder};
pub use value::Variables;

/// The RealWorld suite beside the project, if this machine has it: `../shared/spec/realworld` from the workspace's root.
pub fn realworld_suite() -> Option<std::path::PathBuf> {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)?;
    let suite = workspace.parent()?.join("shared/spec/realworld");
    suite.is_dir().then_some(suite)
}
