//! Fresh reads: a replica answers only if it has replayed every write that was acknowledged before the read arrived.
//!
//! The fact it rests on: a commit that was acknowledged lies below any later `pg_current_wal_insert_lsn()`; a replica whose replay
//! position is at or past that shows it.
//!
//! - [`marks`]: before an acknowledgement is forwarded, the tables it may have changed are marked with the open epoch.
//! - [`sampler`]: closes epochs and asks the primary for its position, and replicas for theirs, while somebody waits. A pure core.
//! - [`view`]: what is known of positions, and which replicas may serve a read. Times come from outside.
//! - [`commits`]: writes that are under way. A replica's first byte waits for those it may already show (the first-row gate).
//! - [`shared`] is what the workers hold; [`watcher`] is its other half: the connections, and the catalog's refresh.
//! - [`client`]: what one client has seen; its reads never go back.
//!
//! Not promised: one snapshot over several servers. Writers that do not pass this process are unseen (`fresh=index` is for those).

pub mod client;
pub mod commits;
pub mod entrance;
pub mod lsn;
pub mod marks;
pub mod sampler;
mod server;
pub mod shared;
#[cfg(test)]
mod simulation;
pub mod view;
pub mod watcher;

pub use client::ClientFreshness;
pub use commits::{Commits, Ticket};
pub use entrance::Entrance;
pub use lsn::Lsn;
pub use marks::{Epoch, Marks};
pub use shared::{Candidates, Fresh, Need};
pub use view::{Replica, Seen, Verdict, View};
pub use watcher::{Nodes, Server, Watcher, build};
