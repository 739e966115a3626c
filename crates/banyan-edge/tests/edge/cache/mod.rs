//! The edge as a shared cache, before a scripted origin: what reaches the origin, what clients get, what nobody may get.

mod beside;
mod both;
mod collapse;
mod disk;
mod fresh;
mod leaks;
mod long;
mod parts;
mod pictures;
mod poison;
mod purge;
mod push;
mod requirements;
mod rollout;
mod settings;
mod shield;
mod sight;
mod stale;
mod strangers;
mod streams;
mod validate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use banyan_config::{Cache, CacheProfile, CacheRule};
use banyan_testkit::upstream::{Message, Upstream, Wire};

use crate::world::World;

/// What the origin was asked.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<Message>>>);

impl Asked {
    pub(crate) fn all(&self) -> Vec<Message> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    /// The last one.
    pub(crate) fn last(&self) -> Message {
        self.all().pop().unwrap()
    }
}

/// Answers with what `script` makes of the request and of how many came for that path before (from 1 on).
pub(crate) async fn origin(
    script: impl Fn(usize, &Message) -> String + Clone + Send + Sync + 'static,
) -> (Upstream, Asked) {
    let asked = Asked::default();
    let noted = asked.clone();
    let counts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let upstream = Upstream::start(move |mut wire: Wire| {
        let (script, noted, counts) = (script.clone(), noted.clone(), Arc::clone(&counts));
        async move {
            while let Some(request) = wire.message().await {
                let count = {
                    let mut counts = counts.lock().unwrap();
                    let count = counts.entry(request.target().to_owned()).or_default();
                    *count += 1;
                    *count
                };
                noted.0.lock().unwrap().push(request.clone());
                wire.send(script(count, &request)).await;
            }
        }
    })
    .await;
    (upstream, asked)
}

/// A response with these header lines (each with its line end) and a length.
pub(crate) fn ok(lines: &str, body: &str) -> String {
    answer("200 OK", lines, body)
}

pub(crate) fn answer(status: &str, lines: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn safe() -> Cache {
    Cache {
        memory: 64 << 20,
        shield: None,
        beside: Default::default(),
        disk: None,
        profile: CacheProfile::Safe,
        policy: Default::default(),
        rules: Vec::new(),
        purge: None,
        warm: None,
    }
}

pub(crate) fn rfc() -> Cache {
    Cache {
        profile: CacheProfile::Rfc,
        ..safe()
    }
}

/// A rule that says nothing yet.
pub(crate) fn rule(path: &str) -> CacheRule {
    CacheRule {
        path: path.to_owned(),
        store: true,
        class: None,
        ttl: None,
        overrides: false,
        browser_ttl: None,
        stale_while_revalidate: None,
        stale_if_error: std::time::Duration::from_secs(3600),
        negative_ttl: std::time::Duration::from_secs(10),
        query: None,
        strip_cookies: false,
        tags: Vec::new(),
        image: None,
    }
}

pub(crate) async fn world(upstream: &Upstream, cache: Cache) -> World {
    World::with(&[upstream.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(cache));
    })
    .await
}

/// A GET with these header lines, each with its line end.
pub(crate) fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{more}\r\n")
}

/// Of `Cache-Status`: what this cache says.
pub(crate) fn said(answer: &Message) -> String {
    answer.header("cache-status").replace("\"banyan-edge\"; ", "")
}
