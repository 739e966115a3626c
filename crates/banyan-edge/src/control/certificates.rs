//! What TLS is served by: read when a snapshot names other files, and again when files change. New handshakes only; what
//! cannot be used is reported and the former certificates stay.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banyan_config::{CertificateFiles, Certificates as Wanted, EdgeSettings};
use banyan_tls::local::Local;
use banyan_tls::{Pair, Server, ServerConfig};
use banyan_topology::report::CertificatesReport;

/// Tells a file that was replaced or written to: inode, size, time of change.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

pub(super) struct Certificates {
    local: Local,
    server: Server,
    served: Option<Served>,
    /// Of the files when they were last looked at: they are read once they have stood still for a moment, because a
    /// certificate and its key are seldom replaced at the same time.
    seen: Vec<Stamp>,
    problem: Option<String>,
}

pub(super) struct Served {
    files: Vec<CertificateFiles>,
    stamps: Vec<Stamp>,
    pub config: Arc<ServerConfig>,
    names: Vec<String>,
    until: i64,
}

impl Certificates {
    pub(super) fn new(state_dir: &Path, server: Server) -> Self {
        Self {
            local: Local::new(state_dir.join("tls")),
            server,
            served: None,
            seen: Vec::new(),
            problem: None,
        }
    }

    fn files(&self, settings: &EdgeSettings) -> Option<Vec<CertificateFiles>> {
        Some(match &settings.tls.as_ref()?.certificates {
            Wanted::SelfSigned => vec![CertificateFiles {
                cert: self.local.leaf(),
                key: self.local.leaf(),
            }],
            Wanted::Files(files) => files.clone(),
            // Until the CA has made one, our own serves.
            Wanted::Acme(_) => {
                let acme = self.local.acme();
                let one = if acme.exists() { acme } else { self.local.leaf() };
                vec![CertificateFiles {
                    cert: one.clone(),
                    key: one,
                }]
            }
        })
    }

    /// What these settings ask for, if it is not what is served already. `now`: Unix seconds.
    pub(super) fn prepare(&self, settings: &EdgeSettings, now: i64) -> Result<Option<Served>, String> {
        let Some(files) = self.files(settings) else {
            return Ok(None);
        };
        if self.served.as_ref().is_some_and(|served| served.files == files) {
            return Ok(None);
        }
        self.read(files, now).map(Some)
    }

    fn read(&self, files: Vec<CertificateFiles>, now: i64) -> Result<Served, String> {
        // Taken before reading: a change meanwhile is seen as one.
        let stamps = stamps(&files);
        let pairs = files.iter().map(|files| Pair::read(&files.cert, &files.key, now));
        let pairs: Vec<Pair> = pairs
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let config = self.server.config(&pairs).map_err(|error| error.to_string())?;
        Ok(Served {
            stamps,
            config,
            names: pairs.iter().flat_map(|pair| pair.names.iter().cloned()).collect(),
            until: pairs.iter().map(|pair| pair.not_after).min().unwrap_or_default(),
            files,
        })
    }

    /// What the cores were told to serve.
    pub(super) fn serve(&mut self, served: Served) {
        self.seen.clone_from(&served.stamps);
        self.problem = None;
        self.served = Some(served);
    }

    /// Looks at the files of what is served; `Some`: they changed, have stood still, and can be used.
    pub(super) fn renewed(&mut self, settings: &EdgeSettings, now: i64) -> Option<Served> {
        let served = self.served.as_ref()?;
        let files = self.files(settings)?;
        if files != served.files {
            // One that a CA has made takes the place of our own. It is written at once and whole.
            return self.read(files, now).ok();
        }
        let stamps = stamps(&served.files);
        if stamps == served.stamps {
            self.problem = None;
            self.seen = stamps;
            return None;
        }
        let still = stamps == self.seen;
        let tried = self.problem.is_some();
        self.seen = stamps;
        // What was refused is not tried again before it changes.
        if !still || tried {
            self.problem = self.problem.take().filter(|_| still);
            return None;
        }
        match self.read(served.files.clone(), now) {
            Ok(renewed) => Some(renewed),
            Err(why) => {
                tracing::warn!(
                    why,
                    "a changed certificate cannot be used; the former one is served"
                );
                self.problem = Some(why);
                None
            }
        }
    }

    pub(super) fn report(&self) -> Option<CertificatesReport> {
        let served = self.served.as_ref()?;
        Some(CertificatesReport {
            names: served.names.clone(),
            until: served.until,
            problem: self.problem.clone(),
        })
    }
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    let paths = files.iter().flat_map(|files| [&files.cert, &files.key]);
    paths.map(|path: &PathBuf| stamp(path)).collect()
}

pub(super) fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}
