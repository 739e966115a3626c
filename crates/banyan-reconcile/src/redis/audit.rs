//! Asks the app's processes to compare what they read from the cache with the database, and collects what they found.
//!
//! The wish and the results are keys of the cache itself (docs/sdk.md says which): an app without the SDK does not answer.

use std::collections::BTreeSet;
use std::time::Duration;

use banyan_config::RedisAddress;
use serde::Serialize;
use tokio::time::sleep;

use super::external::{ask, texts};

const WISH: &str = "banyan:audit";
/// As long as the SDK waits before it calls an entry wrong, and a little more.
const SETTLED: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Entries that were what the database has.
    pub right: u64,
    /// That were not, and were gone within three seconds: their invalidation was under way.
    pub late: u64,
    pub wrong: u64,
    /// Of wrong ones, some, each once.
    pub wrong_keys: Vec<String>,
}

impl Audit {
    pub fn sampled(&self) -> u64 {
        self.right + self.late + self.wrong
    }
}

/// Takes samples for `length`. `number`: another for each audit. `Err`: why not, in words without the password.
pub async fn audit(address: &RedisAddress, number: u64, length: Duration) -> Result<Audit, String> {
    let seconds = length.as_secs() + 2;
    let (number, seconds) = (number.to_string(), seconds.to_string());
    ask(address, &["SET", WISH, &number, "EX", &seconds]).await?;
    sleep(length).await;
    ask(address, &["DEL", WISH]).await?;
    sleep(SETTLED).await;
    let counts = format!("{WISH}:{number}");
    let (counted, keys) = (
        ask(address, &["HMGET", &counts, "right", "late", "wrong"]).await?,
        ask(address, &["LRANGE", &format!("{counts}:wrong"), "0", "-1"]).await?,
    );
    let counted: Vec<u64> = texts(counted)
        .iter()
        .map(|text| text.parse().unwrap_or(0))
        .collect();
    let &[right, late, wrong] = counted.as_slice() else {
        return Err("what answers is no Redis".to_owned());
    };
    Ok(Audit {
        right,
        late,
        wrong,
        wrong_keys: BTreeSet::from_iter(texts(keys)).into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use banyan_testkit::Redis;

    use super::*;

    #[tokio::test]
    async fn the_wish_is_there_while_samples_are_taken_and_results_are_read() {
        let redis = Redis::start().unwrap();
        let address = RedisAddress::parse(&redis.url()).unwrap();
        let audited = audit(&address, 7, Duration::from_millis(200));
        let app = async {
            while redis.command(&["GET", "banyan:audit"]).unwrap() != "7" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            redis
                .command(&["HSET", "banyan:audit:7", "right", "99", "wrong", "1"])
                .unwrap();
            redis
                .command(&["LPUSH", "banyan:audit:7:wrong", "user:7", "user:7"])
                .unwrap();
        };
        let (found, ()) = tokio::join!(audited, app);
        let expected = Audit {
            right: 99,
            late: 0,
            wrong: 1,
            wrong_keys: vec!["user:7".to_owned()],
        };
        assert_eq!(found.unwrap(), expected);
        assert_eq!(redis.command(&["EXISTS", "banyan:audit"]).unwrap(), "0");
    }
}
