//! Puts files into the store ahead of time, under the URLs and for the routes that clients will ask by, as if the app had
//! answered with them. What is too long for the memory is copied to the disk piece by piece.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use banyan_config::{Cache as Settings, RouteAction};
use banyan_httpcache::freshness::Source;
use banyan_httpcache::{Admit, Answered, Head, Time, Times, admit};
use banyan_topology::sight::Push;
use banyan_topology::snapshot::EdgeSnapshot;

use super::disk::Disk;
use super::kept::Kept;
use super::object::Object;
use super::purge::{key, parts};
use super::rules::Rules;
use super::store::{Asking, Store};
use super::{Shared, origin_of, presented, tag_of};
use crate::files::content_type;
use crate::route::{Asked, Decision, Table};

/// A file that may be put there, under what and for whom; the request to the app that it stands for has begun.
pub(crate) struct Planned {
    head: Head,
    key: String,
    tags: Vec<String>,
    /// Whose answers it is among.
    sides: Vec<String>,
    asking: Asking,
    /// For so many seconds it is fresh.
    pub ttl: i64,
}

/// `Err`: why it is not kept.
pub(crate) fn plan(
    (settings, snapshot): (&Settings, &EdgeSnapshot),
    shared: &Shared,
    push: &Push,
    now: Time,
) -> Result<Planned, String> {
    let store = &shared.store;
    let (_, _, path, _) = parts(&push.url);
    let rules = Rules::compile(settings);
    let rule = rules
        .of(path)
        .ok_or("the path can be read in two ways, so nothing under it is kept")?;
    if !rule.store {
        return Err("its rule says store = false".to_owned());
    }
    let long = store.disk().map_or(0, Disk::largest);
    if push.bytes > store.largest().max(long) {
        return Err(format!(
            "{} bytes are more than an eighth of `memory` and a quarter of `disk` in [edge.cache]",
            push.bytes
        ));
    }
    let sides = sides(snapshot, &push.url)?;
    let headers = fields(push, path)?;
    let policy = rule.policy_for(&headers);
    let request = HeaderMap::new();
    let answered = Answered {
        status: StatusCode::OK,
        headers: &headers,
    };
    let times = Times {
        sent: now,
        received: now,
        ahead: std::time::Duration::ZERO,
    };
    let head = match admit(presented(&Method::GET, &request), answered, policy, times) {
        // A guess from a file's date is no word of how long.
        Admit::Yes(head) if !head.lifetime.is_zero() && head.source != Source::Heuristic => *head,
        Admit::Yes(_) => {
            return Err(
                "nothing says how long it is fresh: give --cache-control, or its path a rule with `ttl`"
                    .to_owned(),
            );
        }
        Admit::No(why) => return Err(format!("it is not kept: {why}")),
    };
    let key = key(&push.url, &rule.query);
    Ok(Planned {
        tags: head.tags.iter().map(|tag| tag_of(origin_of(&key), tag)).collect(),
        asking: store.ask(&key),
        ttl: head.ttl_at(now),
        sides,
        head,
        key,
    })
}

impl Planned {
    /// Reads the announced file to where it belongs. Blocking. `Err`: it is another one, or has no room.
    pub(crate) fn put(self, push: &Push) -> Result<(), String> {
        let store = self.asking.store();
        let mut bodies = Vec::new();
        for side in &self.sides {
            // One for all, but for those in files: they are found by the side, too.
            let body = match bodies.first() {
                Some(body) if push.bytes <= store.largest() => Arc::clone(body),
                _ => Arc::new(body(store, (&self.key, side), push)?),
            };
            bodies.push(body);
        }
        for (side, body) in self.sides.into_iter().zip(bodies) {
            let marks = store.marks(&self.key, &self.tags, self.asking.born);
            let object = Object::new(self.head.clone(), side.into(), body, marks);
            store.insert(&self.key, Arc::new(object), None);
        }
        Ok(())
    }
}

/// The file as it was announced.
fn body(store: &Store, name: (&str, &str), push: &Push) -> Result<Kept, String> {
    let shown = push.file.display();
    let unreadable = |error: io::Error| format!("the edge cannot read {shown}: {error}");
    let changed = || format!("{shown} has changed meanwhile");
    let file = File::open(&push.file).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.len() != push.bytes {
        return Err(changed());
    }
    let mut file = Hashed {
        file,
        digest: Sha256::new(),
    };
    let kept = if push.bytes > store.largest() {
        let disk = store.disk().ok_or("the disk of the cache is off")?;
        let body = disk.copy(name, &mut file, push.bytes);
        Kept::in_file(
            body.ok_or_else(|| format!("there is no room for {shown}, or it has changed meanwhile"))?,
        )
    } else {
        let mut bytes = Vec::new();
        (&mut file)
            .take(push.bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        Kept::new(vec![(0, bytes.into())], None)
    };
    let digest: String = file
        .digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest != push.sha256 || kept.length() != push.bytes {
        return Err(changed());
    }
    Ok(kept)
}

/// A file of which is known what was read.
struct Hashed {
    file: File,
    digest: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// As an app would say it of the file.
fn fields(push: &Push, path: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot be in a header"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(
        ETAG,
        value(&format!("\"{}\"", &push.sha256[..32.min(push.sha256.len())]))?,
    );
    if let Some(seconds) = push.modified {
        headers.insert(LAST_MODIFIED, value(&Time::from_seconds(seconds).to_string())?);
    }
    if let Some(text) = &push.cache_control {
        headers.insert(CACHE_CONTROL, value(text)?);
    }
    Ok(headers)
}

/// Whose answers a GET of this URL gets, as what is stored is told apart by.
fn sides(snapshot: &EdgeSnapshot, url: &str) -> Result<Vec<String>, String> {
    let (_, host, path, query) = parts(url);
    let table = Table::compile(&snapshot.routes)?;
    let asked = Asked {
        method: "GET",
        host,
        path: if path.is_empty() { "/" } else { path },
        query,
        headers: &HeaderMap::new(),
    };
    let route = match table.decide(&asked) {
        Decision::Default => return Ok(vec![String::new()]),
        Decision::Ambiguous => return Err("the path can be read in two ways".to_owned()),
        Decision::Route(index) => table.route(index),
    };
    let name = &route.name;
    match &route.action {
        RouteAction::Process(forward) => {
            let shares = forward.shares.iter().filter(|share| share.weight > 0);
            Ok(shares.map(|share| format!("{name}\n{}", share.process)).collect())
        }
        RouteAction::Origin(_) => Ok(vec![format!("{name}\n{}", snapshot.upstream.process)]),
        _ => Err(format!("route {name} answers it itself: nothing of it is kept")),
    }
}
