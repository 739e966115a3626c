//! What the app's processes count of their reads (docs/sdk.md says where they tell it); an app without the SDK tells nothing.

use banyan_config::RedisAddress;
use serde::{Deserialize, Serialize};

use super::external::{ask, texts};

const TOLD: &str = "banyan:stats";
/// Each process tells it once a second; what is older is of one that is gone.
const FRESH_SECONDS: u64 = 10;

/// Of all processes that are there, since each began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    pub processes: u64,
    /// From Redis or a process's own memory.
    pub hits: u64,
    pub local_hits: u64,
    pub stale: u64,
    pub loads: u64,
    /// Of those, not stored because the key was invalidated meanwhile.
    pub rejected: u64,
    /// Without Redis.
    pub direct_loads: u64,
    pub waits: u64,
    pub refused: u64,
    pub invalidations: u64,
    pub missed_invalidations: u64,
    /// Of one process: the most of any.
    pub most_loads_at_once: u64,
}

impl Counted {
    fn with(self, other: &Self) -> Self {
        Self {
            processes: self.processes + 1,
            hits: self.hits + other.hits,
            local_hits: self.local_hits + other.local_hits,
            stale: self.stale + other.stale,
            loads: self.loads + other.loads,
            rejected: self.rejected + other.rejected,
            direct_loads: self.direct_loads + other.direct_loads,
            waits: self.waits + other.waits,
            refused: self.refused + other.refused,
            invalidations: self.invalidations + other.invalidations,
            missed_invalidations: self.missed_invalidations + other.missed_invalidations,
            most_loads_at_once: self.most_loads_at_once.max(other.most_loads_at_once),
        }
    }
}

/// `Err`: why not, in words without the password.
pub async fn counted(address: &RedisAddress) -> Result<Counted, String> {
    let told = texts(ask(address, &["HVALS", TOLD]).await?);
    let now = texts(ask(address, &["TIME"]).await?);
    let now: u64 = now.first().and_then(|now| now.parse().ok()).unwrap_or_default();
    Ok(sum(&told, now))
}

/// `told`: the second, a space, counts as JSON.
fn sum(told: &[String], now: u64) -> Counted {
    let fresh = told.iter().filter_map(|text| {
        let (at, counts) = text.split_once(' ')?;
        let at: u64 = at.parse().ok()?;
        let is_fresh = at.saturating_add(FRESH_SECONDS) >= now;
        serde_json::from_str(counts).ok().filter(|_| is_fresh)
    });
    fresh.fold(Counted::default(), |sum, one: Counted| sum.with(&one))
}

#[cfg(test)]
mod tests {
    use banyan_testkit::Redis;

    use super::*;

    #[test]
    fn counts_of_processes_that_are_there_are_added_up() {
        let told = [
            r#"100 {"hits":7,"loads":2,"most_loads_at_once":2}"#,
            r#"95 {"hits":3,"loads":1,"most_loads_at_once":5,"of a newer version":1}"#,
            r#"10 {"hits":1000}"#,
            "of another program",
        ];
        let expected = Counted {
            processes: 2,
            hits: 10,
            loads: 3,
            most_loads_at_once: 5,
            ..Counted::default()
        };
        assert_eq!(sum(&told.map(str::to_owned), 104), expected);
    }

    #[tokio::test]
    async fn they_are_read_from_redis() {
        let redis = Redis::start().unwrap();
        let address = RedisAddress::parse(&redis.url()).unwrap();
        assert_eq!(counted(&address).await.unwrap(), Counted::default());
        let now = redis.command(&["TIME"]).unwrap();
        let told = format!("{} {{\"hits\":7}}", now.lines().next().unwrap());
        redis.command(&["HSET", TOLD, "web.1", &told]).unwrap();
        let found = counted(&address).await.unwrap();
        assert_eq!((found.processes, found.hits), (1, 7));
    }
}
