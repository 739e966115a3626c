//! The pgproxy role: stands between the app and PostgreSQL behind one `DATABASE_URL`, so that the database can grow while
//! the app runs unchanged.
//!
//! [`build`] takes a [`Config`] and returns the [`Service`] to run and a [`Handle`] to watch it by. A control task owns
//! what is global (snapshot, report, verifiers); each worker has its own thread, runtime, listener, clients and pools.
//! Life of a unit (what a client sends at once: one simple Query, or extended messages up to Sync): `frontend` reads it,
//! `session` knows what it means for the session, `pool` grants a backend, `backend` pumps both ways and knows which
//! reply belongs to which message, `respond` words every failure.

mod backend;
pub mod catalog;
pub mod fresh;
mod frontend;
mod hold;
pub mod parse;
mod pool;
mod respond;
pub mod route;
mod session;
pub mod wire;

use std::path::{Path, PathBuf};

pub struct Config {
    /// Holds `snapshots/pgproxy.json` (read) and `report.sock` (reported to).
    pub state_dir: PathBuf,
}

impl Config {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }
}
