//! The same behaviour over both stores: kept in memory, and read from the disk anew for each request.

use banyan_config::Cache;
use banyan_testkit::upstream::{Message, Upstream, Wire};
use banyan_topology::snapshot::EdgeSnapshot;
use tokio::sync::Mutex;

use super::get;
use crate::world::World;

/// Where an answer is when it is asked for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tier {
    Memory,
    Disk,
}

impl Tier {
    pub(crate) async fn world(self, upstream: &Upstream, cache: Cache) -> Cached {
        self.world_with(upstream, cache, |_| {}).await
    }

    pub(crate) async fn world_with(
        self,
        upstream: &Upstream,
        mut cache: Cache,
        change: impl FnOnce(&mut EdgeSnapshot),
    ) -> Cached {
        let memory = cache.memory;
        if self == Self::Disk {
            cache.disk = Some(256 << 20);
        }
        let world = World::with(&[upstream.address], |snapshot| {
            change(snapshot);
            snapshot.settings.cache = Some(Box::new(cache));
        })
        .await;
        Cached {
            world: Mutex::new(world),
            tier: self,
            memory,
        }
    }
}

pub(crate) struct Cached {
    world: Mutex<World>,
    tier: Tier,
    memory: u64,
}

impl Cached {
    pub(crate) async fn get(&self, path: &str) -> Message {
        self.ask(&get(path, "")).await
    }

    pub(crate) async fn ask(&self, request: &str) -> Message {
        let mut client = self.client().await;
        client.send(request).await;
        client.message().await.expect("an answer")
    }

    /// What is stored is where it belongs when it is asked on this connection.
    pub(crate) async fn client(&self) -> Wire {
        let mut world = self.world.lock().await;
        if self.tier == Tier::Disk {
            self.empty_the_memory(&mut world).await;
        }
        world.client().await
    }

    async fn empty_the_memory(&self, world: &mut World) {
        let is_written = |report: &banyan_topology::report::EdgeReport| {
            report.cache.as_ref().is_some_and(|cache| cache.under_way == 0)
        };
        world.soon(is_written).await;
        for memory in [0, self.memory] {
            world
                .publish(|snapshot| {
                    if let Some(cache) = &mut snapshot.settings.cache {
                        cache.memory = memory;
                    }
                })
                .await;
        }
    }
}

/// Makes two tests of each of these behaviours.
macro_rules! both {
    ($($behaviour:ident),* $(,)?) => {
        mod both {
            $(mod $behaviour {
                use crate::cache::both::Tier;

                #[tokio::test]
                async fn in_memory() {
                    super::super::$behaviour(Tier::Memory).await;
                }

                #[tokio::test]
                async fn on_the_disk() {
                    super::super::$behaviour(Tier::Disk).await;
                }
            })*
        }
    };
}
pub(crate) use both;
