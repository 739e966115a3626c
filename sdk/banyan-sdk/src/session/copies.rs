//! Copies of sessions in Redis: a newer version replaces an older one and never the other way round; of what has ended a mark
//! stays, so that no slower reader puts it back.

use std::time::Duration;

use redis::{RedisError, Script};

use super::Key;
use super::rows::{ENDED, Stamp};
use crate::state::State;

const EPOCH: &str = "banyan:session:epoch";
/// Longer than any reader can be on its way with what it read before.
const MARK_KEPT: Duration = Duration::from_secs(600);

/// For Redis to take a change that others would read: a busy machine is not a Redis that is away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether Redis has what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Told {
    Yes,
    /// It may have an older copy; until the noted change is followed, others may find that.
    NotSure,
}

pub(super) struct Copies {
    state: State,
    get: Script,
    put: Script,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Here {
        data: String,
        left: i64,
        is_final: bool,
    },
    Ended,
    /// Nothing, or Redis is away, or copies of this epoch are not to be read.
    Unknown,
}

impl Copies {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            get: Script::new(include_str!("../lua/session_get.lua")),
            put: Script::new(include_str!("../lua/session_put.lua")),
        }
    }

    pub(super) async fn get(&self, epoch: i64, key: Key) -> Found {
        let mut script = self.get.key(name(epoch, key));
        script.key(EPOCH).arg(epoch);
        let asked = self
            .state
            .ask(|mut redis| async move { script.invoke_async::<Vec<redis::Value>>(&mut redis).await });
        asked
            .await
            .and_then(|answer| found(&answer))
            .unwrap_or(Found::Unknown)
    }

    /// `epoch`: of when the writer or reader began; if another has begun since, an older copy goes and no new one is made.
    pub(super) async fn put(&self, epoch: Option<i64>, key: Key, data: &str, stamp: Stamp) -> Told {
        let mut script = self.put.key(EPOCH);
        script
            .arg(key.hex())
            .arg(stamp.version)
            .arg(stamp.left.max(1))
            .arg(data)
            .arg(u8::from(stamp.is_final))
            .arg(epoch.map_or_else(String::new, |epoch| epoch.to_string()));
        self.send(script).await
    }

    pub(super) async fn end(&self, key: Key) -> Told {
        let mut script = self.put.key(EPOCH);
        script.arg(key.hex()).arg(ENDED).arg(MARK_KEPT.as_millis() as u64);
        self.send(script).await
    }

    async fn send(&self, script: redis::ScriptInvocation<'_>) -> Told {
        let invoke = |mut redis| async move { script.invoke_async::<()>(&mut redis).await };
        match self.state.ask_patiently(PATIENCE, invoke).await {
            Some(()) => Told::Yes,
            None => Told::NotSure,
        }
    }

    pub(super) async fn prolong(&self, epoch: i64, key: Key, stamp: Stamp) {
        let name = name(epoch, key);
        self.state
            .ask(|mut redis| async move {
                let mut pipe = redis::pipe();
                pipe.cmd("PEXPIRE").arg(&name).arg(stamp.left.max(1)).ignore();
                pipe.query_async::<()>(&mut redis).await
            })
            .await;
    }

    /// What a noted change asks for; fails with the reason.
    pub(super) async fn follow(&self, changes: &[(Key, i64)]) -> Result<(), RedisError> {
        let mut redis = self.state.manager();
        self.put.load_async(&mut redis).await?;
        let mut pipe = redis::pipe();
        for (key, version) in changes {
            let mut script = self.put.key(EPOCH);
            script.arg(key.hex()).arg(*version);
            if *version == ENDED {
                script.arg(MARK_KEPT.as_millis() as u64);
            }
            pipe.invoke_script(&script).ignore();
        }
        pipe.query_async(&mut redis).await
    }

    /// Which Redis this is, and the epoch that it was told.
    pub(super) async fn look(&self) -> Result<(String, Option<i64>), RedisError> {
        let mut pipe = redis::pipe();
        pipe.cmd("INFO").arg("server").cmd("GET").arg(EPOCH);
        let (info, epoch): (String, Option<i64>) = pipe.query_async(&mut self.state.manager()).await?;
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        Ok((run_id.unwrap_or_default().trim().to_owned(), epoch))
    }

    pub(super) async fn tell(&self, epoch: i64) -> Result<(), RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(EPOCH)
            .arg(epoch)
            .query_async(&mut self.state.manager())
            .await
    }

    pub(super) async fn warm_up(&self) -> Result<(), RedisError> {
        let mut redis = self.state.manager();
        self.get.load_async(&mut redis).await?;
        self.put.load_async(&mut redis).await?;
        Ok(())
    }
}

fn found(answer: &[redis::Value]) -> Option<Found> {
    let text = |at: usize| redis::from_redis_value_ref::<String>(answer.get(at)?).ok();
    match text(0)?.as_str() {
        "H" => Some(Found::Here {
            data: text(1)?,
            left: text(2)?.parse().ok()?,
            is_final: text(3)? == "1",
        }),
        "G" => Some(Found::Ended),
        _ => None,
    }
}

fn name(epoch: i64, key: Key) -> String {
    format!("session:{epoch}:{}", key.hex())
}
