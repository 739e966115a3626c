//! Redis: whether the program is there, how the running ones are, and whether the user's own is fit for its purpose.

use std::time::Duration;

use banyan_config::{Config, Purpose, Redis, RedisAddress, Secrets};
use banyan_reconcile::proto::{Info, RedisState, Status};
use banyan_reconcile::redis::external;
use banyan_supervisor::engine::redis;

use crate::machine::System;
use crate::render::findings::{Finding, Level};

/// A server of the user's own may be far away.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) enum RedisFact {
    Managed {
        purpose: Purpose,
        installed: bool,
        /// `None`: it does not run.
        state: Option<RedisState>,
    },
    External {
        purpose: Purpose,
        /// Without the password.
        place: String,
        /// What it tells; why it cannot be asked.
        info: Result<Info, String>,
    },
}

pub(super) async fn facts(config: &Config, secrets: &Secrets, status: Option<&Status>) -> Vec<RedisFact> {
    let mut facts = Vec::new();
    for (purpose, redis) in &config.redis {
        let purpose = *purpose;
        facts.push(match redis {
            Redis::Managed(_) => RedisFact::Managed {
                purpose,
                installed: redis::is_installed(),
                state: status.and_then(|status| {
                    let mut states = status.redis.iter();
                    states.find(|state| state.purpose == purpose).cloned()
                }),
            },
            Redis::External(external) => match external.address(secrets) {
                Ok(address) => external_fact(purpose, &address).await,
                // Refused when the configuration is read.
                Err(_) => continue,
            },
        });
    }
    facts
}

async fn external_fact(purpose: Purpose, address: &RedisAddress) -> RedisFact {
    RedisFact::External {
        purpose,
        place: format!("{address:?}"),
        info: external::info(address, LIMIT).await,
    }
}

pub(super) fn judge(fact: &RedisFact, system: &System) -> Finding {
    match fact {
        RedisFact::Managed {
            purpose,
            installed,
            state,
        } => managed(*purpose, *installed, state.as_ref(), system),
        RedisFact::External { purpose, place, info } => own(*purpose, place, info),
    }
}

fn managed(purpose: Purpose, installed: bool, state: Option<&RedisState>, system: &System) -> Finding {
    let name = format!("redis of {purpose}");
    if !installed {
        let sudo = if system.root { "" } else { "sudo " };
        return Finding::new(Level::Problem, name, "Redis is not installed")
            .fix(format!("{sudo}apt-get install -y redis-server"))
            .note("Debian's package starts a server of its own on port 6379. Banyan needs none of it:")
            .note("sudo systemctl disable --now redis-server");
    }
    let Some(state) = state else {
        return Finding::new(Level::Good, name, "the program is installed");
    };
    let mut problems = state.problems().into_iter();
    if let Some(first) = problems.next() {
        let finding = Finding::new(Level::Problem, name, first);
        return problems.fold(finding, Finding::note);
    }
    let version = state.info.as_ref().map(|info| info.version.as_str());
    Finding::new(
        Level::Good,
        name,
        format!("{} answers", version.unwrap_or_default()),
    )
}

fn own(purpose: Purpose, place: &str, info: &Result<Info, String>) -> Finding {
    let name = format!("redis of {purpose}");
    let info = match info {
        Ok(info) => info,
        Err(why) => {
            return Finding::new(Level::Problem, name, format!("{place}: {why}"))
                .fix(format!("correct {purpose}.url, or start that server"));
        }
    };
    match external::unfit(purpose, info) {
        Some(why) => Finding::new(Level::Warning, name, format!("{place}: {why}")),
        None => Finding::new(Level::Good, name, format!("{place}: {} answers", info.version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_ones_own_is_judged_by_its_purpose() {
        let info = |policy: &str| Info {
            policy: policy.to_owned(),
            version: "7.2.4".to_owned(),
            max_bytes: 1 << 30,
            persists: true,
            role: "master".to_owned(),
            ..Info::default()
        };
        let level = |purpose, info| own(purpose, "redis://r:6379/0", &info).level;
        assert!(matches!(
            level(Purpose::Sessions, Ok(info("noeviction"))),
            Level::Good
        ));
        assert!(matches!(
            level(Purpose::Sessions, Ok(info("allkeys-lru"))),
            Level::Warning
        ));
        assert!(matches!(
            level(Purpose::Cache, Ok(info("noeviction"))),
            Level::Warning
        ));
        assert!(matches!(
            level(Purpose::Cache, Err("refused".to_owned())),
            Level::Problem
        ));
    }
}
