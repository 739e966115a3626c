//! What clients show who they are by: files of keys and passwords, and key sets that are fetched.
//!
//! Files are read when a snapshot names them (what cannot be used refuses the snapshot), and again when they changed and have
//! stood still. Key sets by URL are fetched every `refresh`, after a failure sooner, and at once when a token names a key that
//! is not known, but not again for ten seconds. What was good last stays until something better is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use banyan_config::{Auth, AuthBy, EdgeSettings, JwtKeys};
use banyan_runtime::{TaskKind, cores};
use banyan_topology::report::AuthReport;

use super::Control;
use super::certificates::{Stamp, stamp};
use super::fetch;
use crate::core::command::Command;
use crate::filter::auth::api_key::Keys;
use crate::filter::auth::basic::Users;
use crate::filter::auth::link::LinkKeys;
use crate::filter::auth::passwords;
use crate::filter::auth::token::KeySet;
use crate::filter::auth::{Material, Materials};

/// Between two fetches for a key that nobody knows.
const NOT_SOONER: Duration = Duration::from_secs(10);
/// After a fetch that failed.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Identities {
    entries: BTreeMap<String, Entry>,
    fetched: mpsc::UnboundedReceiver<Fetched>,
    fetched_to: mpsc::UnboundedSender<Fetched>,
    /// Until passwords are first asked for.
    jobs: Option<passwords::Receiver>,
}

#[derive(Clone)]
pub(super) struct Entry {
    auth: Auth,
    /// `None`: nothing good was ever there, so nobody is let in.
    material: Option<Material>,
    problem: Option<String>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    File {
        path: PathBuf,
        read: Stamp,
        /// When it was last looked at.
        seen: Stamp,
    },
    Url {
        url: String,
        ca: Option<PathBuf>,
        refresh: Duration,
        due: Instant,
        /// When a core last had them fetched.
        wanted: Option<Instant>,
        fetching: bool,
    },
}

/// The answer to a fetch.
pub(super) struct Fetched {
    name: String,
    url: String,
    keys: Result<Arc<KeySet>, String>,
}

impl Identities {
    pub(super) fn new(jobs: passwords::Receiver) -> Self {
        let (fetched_to, fetched) = mpsc::unbounded_channel();
        Self {
            entries: BTreeMap::new(),
            fetched,
            fetched_to,
            jobs: Some(jobs),
        }
    }

    pub(super) async fn next(&mut self) -> Option<Fetched> {
        self.fetched.recv().await
    }

    /// What these settings ask for, with what is there already.
    pub(super) fn prepare(&self, settings: &EdgeSettings, now: Instant) -> BTreeMap<String, Entry> {
        let entry = |(name, auth): (&String, &Auth)| {
            let kept = self.entries.get(name).filter(|entry| entry.auth == *auth);
            let entry = kept.cloned().unwrap_or_else(|| self.begin(name, auth, now));
            (name.clone(), entry)
        };
        settings.auth.iter().map(entry).collect()
    }

    fn begin(&self, name: &str, auth: &Auth, now: Instant) -> Entry {
        let source = source(auth, now);
        let material = match &source {
            Source::File { path, .. } => read(auth, path).map(Some),
            // Keys of the same place, under rules that changed.
            Source::Url { url, .. } => Ok(self
                .entries
                .get(name)
                .filter(|entry| matches!(&entry.source, Source::Url { url: former, .. } if former == url))
                .and_then(|entry| entry.material.clone())
                .or(Some(Material::Tokens(None)))),
        };
        let (material, problem) = match material {
            Ok(material) => (material, None),
            Err(why) => (None, Some(why)),
        };
        Entry {
            auth: auth.clone(),
            material,
            problem,
            source,
        }
    }

    fn materials(&self) -> Materials {
        let material = |(name, entry): (&String, &Entry)| Some((name.clone(), entry.material.clone()?));
        self.entries.iter().filter_map(material).collect()
    }

    pub(super) fn report(&self) -> Vec<AuthReport> {
        let report = |(name, entry): (&String, &Entry)| AuthReport {
            name: name.clone(),
            entries: match &entry.material {
                Some(Material::Keys(keys)) => keys.len(),
                Some(Material::Users(users)) => users.len(),
                Some(Material::Links(keys)) => keys.len(),
                Some(Material::Tokens(Some(keys))) => keys.len(),
                Some(Material::Tokens(None)) | None => 0,
            },
            problem: entry.problem.clone(),
        };
        self.entries.iter().map(report).collect()
    }

    /// Reads files that changed. True: something is to be told.
    fn look(&mut self) -> bool {
        let looks = self.entries.iter_mut().map(|(name, entry)| entry.look(name));
        looks.fold(false, |changed, one| changed | one)
    }
}

impl Entry {
    /// Why it refuses a snapshot.
    pub(super) fn problem(&self) -> Option<&String> {
        self.problem.as_ref().filter(|_| self.material.is_none())
    }

    fn look(&mut self, name: &str) -> bool {
        let Source::File {
            path,
            read: done,
            seen,
        } = &mut self.source
        else {
            return false;
        };
        let now = stamp(path);
        let still = now == *seen;
        *seen = now;
        if now == *done || !still {
            return false;
        }
        *done = now;
        match read(&self.auth, path) {
            Ok(material) => {
                tracing::info!(auth = name, "the file changed and is taken up");
                self.material = Some(material);
                self.problem = None;
            }
            Err(why) => {
                tracing::warn!(
                    auth = name,
                    why,
                    "a changed file cannot be used; what was read before holds"
                );
                self.problem = Some(why);
            }
        }
        true
    }
}

fn source(auth: &Auth, now: Instant) -> Source {
    match &auth.by {
        AuthBy::Keys { file, .. } | AuthBy::Users { file } | AuthBy::Links { file } => Source::file(file),
        AuthBy::Jwt(jwt) => match &jwt.keys {
            JwtKeys::File(file) => Source::file(file),
            JwtKeys::Url { url, refresh, ca } => Source::Url {
                url: url.clone(),
                ca: ca.clone(),
                refresh: *refresh,
                due: now,
                wanted: None,
                fetching: false,
            },
        },
    }
}

impl Source {
    fn file(path: &Path) -> Self {
        // Taken before reading: a change meanwhile is seen as one.
        let stamp = stamp(path);
        Self::File {
            path: path.to_owned(),
            read: stamp,
            seen: stamp,
        }
    }
}

fn read(auth: &Auth, path: &Path) -> Result<Material, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(match &auth.by {
        AuthBy::Keys { .. } => Material::Keys(Arc::new(Keys::read(&text))),
        AuthBy::Users { .. } => Material::Users(Arc::new(Users::read(&text))),
        AuthBy::Links { .. } => Material::Links(Arc::new(LinkKeys::read(&text))),
        AuthBy::Jwt(_) => {
            let keys = KeySet::read(&text, true).map_err(|error| format!("{}: {error}", path.display()))?;
            Material::Tokens(Some(Arc::new(keys)))
        }
    })
}

impl Control {
    /// From now on; the cores are told with the snapshot.
    pub(super) fn identify_by(&mut self, entries: BTreeMap<String, Entry>) {
        let passwords = entries
            .values()
            .any(|entry| matches!(entry.auth.by, AuthBy::Users { .. }));
        self.identities.entries = entries;
        if passwords && let Some(jobs) = self.identities.jobs.take() {
            let started = cores::spawn("edge-passwords", 0, move || passwords::work(jobs));
            if let Err(error) = started {
                tracing::error!(%error, "no thread for passwords: nobody can log in by one");
            }
        }
        self.fetch_due();
    }

    pub(super) fn materials(&self) -> Materials {
        self.identities.materials()
    }

    /// Each second.
    pub(super) fn look_at_identities(&mut self) {
        if self.identities.look() {
            self.tell_materials();
        }
        self.fetch_due();
    }

    fn tell_materials(&self) {
        let materials = self.identities.materials();
        self.tell_all(|| Command::Materials(materials.clone()));
    }

    fn fetch_due(&mut self) {
        let now = self.clock.now();
        for (name, entry) in &mut self.identities.entries {
            let Source::Url {
                url,
                ca,
                due,
                fetching,
                ..
            } = &mut entry.source
            else {
                continue;
            };
            if *fetching || now < *due {
                continue;
            }
            *fetching = true;
            let (name, url, ca) = (name.clone(), url.clone(), ca.clone());
            let answer = self.identities.fetched_to.clone();
            self.tasks.spawn(TaskKind::Background, "fetch keys", async move {
                let text = fetch::text(&url, ca.as_deref()).await;
                let keys = text
                    .map_err(|error| error.to_string())
                    .and_then(|text| KeySet::read(&text, false).map_err(|error| format!("{url}: {error}")))
                    .map(Arc::new);
                let _ending = answer.send(Fetched { name, url, keys });
            });
        }
    }

    pub(super) fn take_fetched(&mut self, fetched: Fetched) {
        let now = self.clock.now();
        let Some(entry) = self.identities.entries.get_mut(&fetched.name) else {
            return;
        };
        let Source::Url {
            url,
            refresh,
            due,
            fetching,
            ..
        } = &mut entry.source
        else {
            return;
        };
        // Of before a change.
        if *url != fetched.url {
            return;
        }
        *fetching = false;
        match fetched.keys {
            Ok(keys) => {
                *due = now + *refresh;
                entry.material = Some(Material::Tokens(Some(keys)));
                entry.problem = None;
                self.tell_materials();
            }
            Err(why) => {
                *due = now + AGAIN;
                tracing::warn!(
                    auth = fetched.name,
                    why,
                    "keys could not be fetched; the last good ones hold"
                );
                entry.problem = Some(why);
                self.tell_all(|| Command::MaterialsLookedFor);
            }
        }
    }

    /// A core has a token whose key it does not know.
    pub(super) fn want_keys(&mut self, core: usize, auth: &str, known: Option<&Arc<KeySet>>) {
        let now = self.clock.now();
        let mut comes = false;
        let entry = self.identities.entries.get_mut(auth);
        // Newer ones may be on their way to it.
        let entry = entry.filter(|entry| match (&entry.material, known) {
            (Some(Material::Tokens(Some(keys))), Some(known)) => Arc::ptr_eq(keys, known),
            (Some(Material::Tokens(keys)), _) => keys.is_none(),
            _ => false,
        });
        if let Some(Source::Url {
            due,
            wanted,
            fetching,
            ..
        }) = entry.map(|entry| &mut entry.source)
        {
            if !*fetching && wanted.is_none_or(|wanted| now >= wanted + NOT_SOONER) {
                *wanted = Some(now);
                *due = now;
            }
            comes = *fetching || now >= *due;
        }
        self.fetch_due();
        if !comes {
            let _gone = self.cores[core].commands.send(Command::MaterialsLookedFor);
        }
    }
}
