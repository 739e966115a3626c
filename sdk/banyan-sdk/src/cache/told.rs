//! `banyan cache stats`: what each process has counted, told to the cache's Redis once a second.
//!
//! The hash `banyan:stats` has a field for each instance, by its name: the second by Redis's clock, a space, and the counts as a JSON
//! object. Who reads it leaves out what is older than a few seconds: that process is gone, or Redis was away.

use std::time::Duration;

use redis::Script;
use tokio::time::{sleep, timeout};

use super::Cache;

const TOLD: &str = "banyan:stats";
const EVERY: Duration = Duration::from_secs(1);
const REDIS_LIMIT: Duration = Duration::from_secs(1);

impl Cache {
    /// For ever; started by each process of an app that serves. Without Redis there is nobody to tell.
    pub(crate) async fn tell_stats(self, instance: String) {
        let Some(mut redis) = self.inner.store.manager() else {
            return;
        };
        let script = Script::new(include_str!("../lua/stats.lua"));
        loop {
            let counts = serde_json::json!(self.stats()).to_string();
            let mut call = script.key(TOLD);
            call.arg(&instance).arg(counts);
            // Told again in a second.
            timeout(REDIS_LIMIT, call.invoke_async::<()>(&mut redis))
                .await
                .ok();
            sleep(EVERY).await;
        }
    }
}
