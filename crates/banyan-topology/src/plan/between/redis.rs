//! Redis: there before who uses it starts, and gone after who used it.

use super::Planner;
use crate::model::Redis;
use crate::plan::Step;

impl Planner<'_> {
    pub(super) fn begin_redis(&mut self) {
        let desired: Vec<Redis> = self.desired.redis.values().cloned().collect();
        for to in desired {
            match self.at.redis.get(&to.purpose).cloned() {
                None => self.push(Step::StartRedis(to)),
                Some(from) if from == to => {}
                // One that is to listen elsewhere is another one.
                Some(from) if from.port != to.port => {
                    self.push(Step::StopRedis(from));
                    self.push(Step::StartRedis(to));
                }
                Some(from) if from.restarts_for(&to) => self.push(Step::RestartRedis { from, to }),
                Some(from) => self.push(Step::ConfigureRedis { from, to }),
            }
        }
    }

    pub(super) fn end_redis(&mut self) {
        let gone = self.at.redis.values();
        let gone: Vec<Redis> = gone
            .filter(|redis| !self.desired.redis.contains_key(&redis.purpose))
            .cloned()
            .collect();
        for redis in gone {
            self.push(Step::StopRedis(redis));
        }
    }
}
