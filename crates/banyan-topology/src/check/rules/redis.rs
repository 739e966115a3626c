//! The rules of Redis.

use banyan_config::Purpose;

use super::Move;
use crate::model::Topology;
use crate::plan::Step;

impl Move<'_> {
    /// A restart is no stop: what it holds is there again.
    pub(super) fn redis(&self) -> Result<(), String> {
        for purpose in Purpose::ALL {
            let port = |side: &Topology| side.redis.get(&purpose).map(|redis| redis.port);
            let stays = port(self.current).is_some() && port(self.current) == port(self.desired);
            if stays && port(self.before).is_some() && port(self.after).is_none() {
                return Err(format!("the Redis of {purpose} would stop though it stays"));
            }
            let lacks = |made_for: &Topology| port(made_for).is_some() && port(made_for) != port(self.after);
            if let Some(id) = self.stranded(lacks) {
                return Err(format!("{id} would run without its Redis of {purpose}"));
            }
            let needs = port(self.desired);
            if matches!(self.step, Step::RunRelease(_)) && needs.is_some() && needs != port(self.after) {
                return Err(format!("`{}` would find no Redis of {purpose}", self.step));
            }
        }
        Ok(())
    }
}
