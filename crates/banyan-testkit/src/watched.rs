//! A Redis with a replica, and three Sentinels that make the one the other when it ends.

use std::time::Duration;

use crate::redis::{Redis, RedisError};
use crate::wait::{self, TimedOut};

const LIMIT: Duration = Duration::from_secs(60);
pub const SERVICE: &str = "shop";

#[derive(Debug)]
pub struct Watched {
    pub primary: Redis,
    pub replica: Redis,
    pub sentinels: Vec<Redis>,
}

#[derive(Debug, thiserror::Error)]
pub enum WatchedError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("the Sentinels do not find each other: {0}")]
    Sentinels(#[from] TimedOut),
}

impl Watched {
    /// Blocks until each Sentinel knows all the others, for some seconds. `settings`: of both servers.
    pub fn start_with(settings: &[&str]) -> Result<Self, WatchedError> {
        let primary = Redis::start_with(settings)?;
        let replica = Redis::replica(&primary, settings)?;
        let sentinels = (0..3).map(|_| Redis::sentinel(SERVICE, &primary));
        let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
        for sentinel in &sentinels {
            wait::blocking("Sentinels to know each other", LIMIT, || knows_all(sentinel))?;
        }
        Ok(Self {
            primary,
            replica,
            sentinels,
        })
    }

    /// `password`: the one of [`Redis::password`], or what stands for it.
    pub fn url(&self, password: &str) -> String {
        let hosts = self.sentinels.iter();
        let hosts: Vec<_> = hosts
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()))
            .collect();
        format!(
            "redis+sentinel://default:{password}@{}/{SERVICE}/0",
            hosts.join(",")
        )
    }
}

fn knows_all(sentinel: &Redis) -> Result<(), String> {
    let told = sentinel
        .command(&["SENTINEL", "MASTER", SERVICE])
        .map_err(|error| error.to_string())?;
    let words: Vec<&str> = told.split_whitespace().collect();
    let of = |name| {
        let mut from = words.iter().skip_while(|word| **word != name);
        from.nth(1).copied()
    };
    match (of("num-slaves"), of("num-other-sentinels")) {
        (Some("1"), Some("2")) => Ok(()),
        _ => Err(told),
    }
}
