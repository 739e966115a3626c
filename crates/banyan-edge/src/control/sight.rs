//! Answers questions about the cache, and takes files for it, for `banyan cdn stats`, `explain` and `push`: on a unix socket of
//! this process's own in `.banyan/cdn/`, for its user and root. Tasks: one that listens; questions are answered one after another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use banyan_config::{Cache, FIRST_PLACE};
use banyan_runtime::control::{Connection, Listener};
use banyan_runtime::{TaskKind, Tasks};
use banyan_topology::PlaceName;
use banyan_topology::sight::{Answer, CacheStats, Push, Question, RouteCache};

use super::Control;
use super::page::Row;
use crate::cache::explain::{explain, missed};
use crate::cache::owner;
use crate::cache::push::{self, Planned};
use crate::metrics::{CacheCells, RouteCells};

/// For a question to come, and for its answer to be taken.
const LIMIT: Duration = Duration::from_secs(2);
/// Of what was asked for most.
const MOST: usize = 20;

pub(super) type Asked = (Question, oneshot::Sender<Told>);

/// What control says to a question.
pub(super) enum Told {
    Answer(Answer),
    /// The file may be put there; with the name of this edge.
    Planned(Box<Planned>, String),
}

/// Answers for as long as it is kept.
pub(super) struct Sight {
    path: PathBuf,
    asks: mpsc::UnboundedSender<Asked>,
    open: Option<oneshot::Sender<()>>,
}

impl Sight {
    pub(super) fn new(folder: &Path, started_unix_ms: u64) -> (Self, mpsc::UnboundedReceiver<Asked>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let path = folder.join(format!("{}-{started_unix_ms}.sock", std::process::id()));
        let sight = Self {
            path,
            asks,
            open: None,
        };
        (sight, asked)
    }

    /// While there is a cache. Tried again each second.
    pub(super) fn keep(&mut self, wanted: bool, tasks: &Tasks) {
        if !wanted {
            self.open = None;
        } else if self.open.is_none() {
            match self.listen(tasks) {
                Ok(open) => self.open = Some(open),
                Err(why) => tracing::debug!(why, "nobody can ask about the cache"),
            }
        }
    }

    fn listen(&self, tasks: &Tasks) -> Result<oneshot::Sender<()>, String> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let listener = Listener::bind(&self.path).map_err(|error| error.to_string())?;
        let (ends, ended) = oneshot::channel();
        let (asks, path) = (self.asks.clone(), self.path.clone());
        tasks.spawn(TaskKind::Background, "questions about the cache", async move {
            tokio::select! {
                () = answer(&listener, &asks) => {}
                _dropped = ended => {}
            }
            let _gone = std::fs::remove_file(path);
        });
        Ok(ends)
    }
}

async fn answer(listener: &Listener, asks: &mpsc::UnboundedSender<Asked>) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                if talk(connection, asks).await.is_err() {
                    tracing::debug!("a question about the cache took too long");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a question about the cache was refused");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn talk(mut connection: Connection, asks: &mpsc::UnboundedSender<Asked>) -> Result<(), Elapsed> {
    let Ok(Some(question)) = timeout(LIMIT, connection.receive::<Question>()).await? else {
        return Ok(());
    };
    let (tell, told) = oneshot::channel();
    let pushed = match &question {
        Question::Push(push) => Some(push.clone()),
        Question::Stats | Question::Explain { .. } => None,
    };
    let _ending = asks.send((question, tell));
    let answer = match (told.await, pushed) {
        (Ok(Told::Answer(answer)), _) => answer,
        (Ok(Told::Planned(planned, edge)), Some(push)) => put(*planned, edge, push).await,
        (Ok(Told::Planned(..)) | Err(_), _) => return Ok(()),
    };
    let _gone = timeout(LIMIT, connection.send(&answer)).await?;
    Ok(())
}

/// Off this thread: a file can be long.
async fn put(planned: Planned, edge: String, push: Box<Push>) -> Answer {
    let ttl_s = planned.ttl;
    let put = banyan_runtime::task::blocking(move || planned.put(&push)).await;
    match put.unwrap_or_else(|_panic| Err("the edge gave up on it".to_owned())) {
        Ok(()) => Answer::Pushed {
            edge,
            pid: std::process::id(),
            ttl_s,
        },
        Err(why) => Answer::Refused { why },
    }
}

impl Control {
    /// With each second: there is a cache, or there is none any more.
    pub(super) fn keep_sight(&mut self) {
        let wanted = self.snapshot.settings.cache.is_some();
        self.sight.keep(wanted, &self.tasks);
    }

    pub(super) fn tell_of_the_cache(&self, (question, tell): Asked) {
        let answer = match (&self.snapshot.settings.cache, question) {
            (None, _) => Answer::NoCache,
            (Some(_), Question::Stats) => Answer::Stats(Box::new(self.cache_stats())),
            (Some(settings), Question::Push(pushed)) => {
                match push::plan((settings, &self.snapshot), &self.stored, &pushed, self.now()) {
                    Ok(planned) => {
                        // Who asked may have gone.
                        let _gone = tell.send(Told::Planned(Box::new(planned), self.edge_name()));
                        return;
                    }
                    Err(why) => Answer::Refused { why },
                }
            }
            (Some(settings), Question::Explain { url, headers }) => {
                match explain(settings, &self.stored, &url, &headers, self.now()) {
                    Ok(mut told) => {
                        told.notes.extend(self.keeper(settings, &told.key));
                        told.tier = self.tier().to_owned();
                        told.edge = self.edge_name();
                        told.pid = std::process::id();
                        Answer::Explained(Box::new(told))
                    }
                    Err(why) => Answer::Refused { why },
                }
            }
        };
        let _gone = tell.send(Told::Answer(answer));
    }

    fn cache_stats(&self) -> CacheStats {
        let store = &self.stored.store;
        CacheStats {
            tier: self.tier().to_owned(),
            edge: self.edge_name(),
            pid: std::process::id(),
            since_ms: self.started_unix_ms,
            routes: self.counted_routes(|cells| &cells.cache),
            beside: self.counted_routes(|cells| &cells.beside),
            misses: self.stored.tops.most(MOST).iter().map(missed).collect(),
            stored_bytes: store.used(),
            stored: store.len() as u64,
            evicted: store.evicted(),
            purged: self.purges.report().applied,
            pictures: self.makes_pictures().then(|| self.stored.pictures().told()),
        }
    }

    /// Which edge has it for those that share.
    fn keeper(&self, settings: &Cache, key: &str) -> Option<String> {
        let own = self.place.as_ref().map_or(FIRST_PLACE, PlaceName::as_str);
        let place = owner::place(settings, self.snapshot.places.keys(), own, key)?;
        Some(if place == own {
            "this edge keeps it for those beside it, which ask it on a miss".to_owned()
        } else {
            format!("the edge at {place} keeps it for those beside it: this one asks that on a miss")
        })
    }

    fn counted_routes(&self, of: fn(&RouteCells) -> &CacheCells) -> Vec<RouteCache> {
        let rows = self.routes();
        let counted = rows.iter().map(|row| of_route(row, of));
        counted.filter(|route| route.requests() > 0).collect()
    }

    fn edge_name(&self) -> String {
        self.purges.report().edge
    }
}

fn of_route((labels, cells): &Row<'_, RouteCells>, of: fn(&RouteCells) -> &CacheCells) -> RouteCache {
    let mut results: BTreeMap<String, u64> = BTreeMap::new();
    let mut whys: BTreeMap<String, u64> = BTreeMap::new();
    let mut remedies = BTreeMap::new();
    let counts = cells.iter().flat_map(|cell| of(cell).counts());
    for (result, why, count) in counts.filter(|(_, _, count)| *count > 0) {
        *results.entry(result.name().to_owned()).or_default() += count;
        if let Some(why) = why {
            *whys.entry(why.name().to_owned()).or_default() += count;
            let remedy = why.remedy();
            remedies.extend(remedy.map(|remedy| (why.name().to_owned(), remedy.to_owned())));
        }
    }
    RouteCache {
        route: labels.first().map(|(_, name)| name.clone()).unwrap_or_default(),
        results,
        whys,
        remedies,
        stored_bytes: cells.iter().map(|cell| of(cell).sent.get()).sum(),
        bytes: cells.iter().map(|cell| cell.sent.get()).sum(),
    }
}
