//! What the end-to-end tests stand on: an installation of the real binary in a folder of its own, the sample site as a
//! client sees it, and a guard that ends every process of the installation whatever becomes of the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

pub mod binaries;
pub mod burn;
pub mod guard;
pub mod installation;
pub mod manifest;
pub mod site;
pub mod visitors;

pub use installation::Installation;
pub use manifest::Manifest;
pub use site::{Site, judge};
