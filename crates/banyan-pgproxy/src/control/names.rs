//! Servers that have names: when a name leads elsewhere (a managed database has failed over), so does the proxy.
//!
//! Asked each [`EVERY`]. An address that the name still has is kept, whichever comes first; another one is taken when it
//! answers. The controller is not needed for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;

use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_topology::NodeId;
use banyan_topology::snapshot::PgproxySnapshot;

use super::Request;

const EVERY: Duration = Duration::from_secs(2);
/// For the name, and for each of its addresses.
const LIMIT: Duration = Duration::from_secs(5);

/// A name does not lead to the first address any more, but to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) node: NodeId,
    from: SocketAddr,
    to: SocketAddr,
}

#[derive(Default)]
pub(super) struct Names {
    asked: Option<Instant>,
    /// What the controller knows, and what is so.
    moved: BTreeMap<NodeId, (SocketAddr, SocketAddr)>,
}

impl Names {
    /// Asks when it is time to. Answers are [`Request::Named`].
    pub(super) fn ask(
        &mut self,
        snapshot: &PgproxySnapshot,
        answers: &mpsc::UnboundedSender<Request>,
        tasks: &Tasks,
    ) {
        let now = Clock.now();
        if self.asked.is_some_and(|asked| now < asked + EVERY) {
            return;
        }
        self.asked = Some(now);
        for node in &snapshot.database.nodes {
            let Some(name) = node.name.clone().filter(|_| node.socket.is_none()) else {
                continue;
            };
            let (node, from, answers) = (node.id, node.address, answers.clone());
            tasks.spawn(TaskKind::Background, "the server's name", async move {
                if let Some(to) = elsewhere(&name, from).await {
                    let _ended = answers.send(Request::Named(Moved { node, from, to }));
                }
            });
        }
    }

    /// `None`: it has been said already.
    pub(super) fn learn(&mut self, moved: Moved, snapshot: &PgproxySnapshot) -> Option<PgproxySnapshot> {
        let node = snapshot.database.node(moved.node)?;
        if node.address != moved.from {
            return None;
        }
        let known = self.moved.get(&moved.node);
        let told = known
            .filter(|(_, is)| *is == moved.from)
            .map_or(moved.from, |(told, _)| *told);
        self.moved.insert(moved.node, (told, moved.to));
        let mut snapshot = snapshot.clone();
        let node = snapshot
            .database
            .nodes
            .iter_mut()
            .find(|node| node.id == moved.node)?;
        node.address = moved.to;
        Some(snapshot)
    }

    /// What the controller says, with the addresses that it cannot know yet.
    pub(super) fn corrected(&self, mut snapshot: PgproxySnapshot) -> PgproxySnapshot {
        for node in &mut snapshot.database.nodes {
            if let Some((told, is)) = self.moved.get(&node.id)
                && node.address == *told
                && node.name.is_some()
            {
                node.address = *is;
            }
        }
        snapshot
    }
}

/// Where the name leads now; `None`: there still, or to nobody who answers.
async fn elsewhere(name: &str, from: SocketAddr) -> Option<SocketAddr> {
    let found = timeout(LIMIT, lookup_host((name, from.port())))
        .await
        .ok()?
        .ok()?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.contains(&from) {
        return None;
    }
    for address in addresses {
        if matches!(timeout(LIMIT, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return Some(address);
        }
    }
    None
}
