//! Files and environment to a configuration: what `banyan-config` must not do itself.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use banyan_config::{
    Certificates, Config, Database, EdgeSettings, FileError, FileText, Problem, RouteAction, Source, Sources,
    TellBy,
};
use banyan_reconcile::Loaded as ForController;
use banyan_reconcile::proto::ConfigPaths;
use banyan_runtime::Clock;
use banyan_tls::Pair;
use sha2::{Digest, Sha256};

use crate::place::Place;
use crate::render::error::Whole;

/// A configuration and what belongs to it.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) secrets: banyan_config::Secrets,
    pub(crate) warnings: Vec<Problem>,
    /// SHA-256 in hex over all bytes that were read.
    pub(crate) hash: String,
}

pub(crate) enum Failure {
    /// A file that must exist could not be read.
    Unreadable(anyhow::Error),
    /// Every error of the configuration.
    Wrong(banyan_config::Errors),
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreadable(error) => error,
            Failure::Wrong(errors) => Self::new(Whole(errors.to_string())),
        }
    }
}

/// For verbs: paths in messages are as typed; the error is the whole text.
pub(crate) fn load(place: &Place) -> anyhow::Result<Loaded> {
    place.config_paths()?;
    Ok(load_files(place.config(), place.overlay().as_deref())?)
}

/// For the controller, which may stand in another folder: paths are absolute.
pub(crate) fn load_for_controller(paths: &ConfigPaths) -> Result<ForController, Vec<String>> {
    let loaded = load_files(&paths.file, paths.overlay.as_deref()).map_err(|failure| match failure {
        Failure::Unreadable(error) => vec![format!("{error:#}")],
        Failure::Wrong(errors) => vec![errors.to_string()],
    })?;
    Ok(with_root(loaded, &paths.file))
}

/// For verbs that do a controller's work without one: paths in messages are as typed, the root is absolute.
pub(crate) fn load_with_root(place: &Place) -> anyhow::Result<ForController> {
    Ok(with_root(load(place)?, &place.config_paths()?.file))
}

fn with_root(loaded: Loaded, file: &Path) -> ForController {
    let root = folder(file);
    let mut config = loaded.config;
    if let Some(edge) = &mut config.edge {
        find_files(&mut edge.settings, &root);
        for route in &mut edge.routes {
            if let RouteAction::Static(files) = &mut route.action {
                files.dir = root.join(&files.dir);
            }
        }
    }
    for receiver in config.alerts.iter_mut().flat_map(|alerts| alerts.to.values_mut()) {
        let file = match &mut receiver.by {
            TellBy::WebhookFile(path) => Some(path),
            TellBy::Mail(mail) => mail.login.as_mut().map(|(_, path)| path),
            TellBy::Webhook(_) | TellBy::Alertmanager(_) => None,
        };
        if let Some(path) = file {
            *path = root.join(&path);
        }
    }
    if let Some(Database::Managed(database)) = &mut config.database {
        if let Some(dir) = &mut database.dir {
            *dir = root.join(&dir);
        }
        if let Some(backup) = &mut database.backup {
            backup.path = root.join(&backup.path);
        }
    }
    config.logs.archive = config.logs.archive.take().map(|path| root.join(path));
    ForController {
        root,
        secrets: loaded.secrets,
        hash: loaded.hash,
        notes: loaded
            .warnings
            .iter()
            .map(|warning| warning.message.clone())
            .collect(),
        config,
    }
}

/// The edge knows no folder that paths are relative to.
fn find_files(settings: &mut EdgeSettings, root: &Path) {
    for path in settings.auth.values_mut().flat_map(|auth| auth.paths_mut()) {
        *path = root.join(&path);
    }
    if let Some(cache) = settings.cache.as_mut() {
        let token = cache
            .purge
            .iter_mut()
            .filter_map(|purge| purge.token_file.as_mut());
        let warm = cache.warm.iter_mut();
        let lists = warm.flat_map(|warm| warm.sitemap.iter_mut().chain(&mut warm.manifest));
        for path in token.chain(lists) {
            *path = root.join(&path);
        }
    }
    for origin in settings.origins.values_mut() {
        for path in origin.secret_file.iter_mut().chain(&mut origin.ca) {
            *path = root.join(&path);
        }
    }
    match settings.tls.as_mut().map(|tls| &mut tls.certificates) {
        Some(Certificates::Files(all)) => {
            for files in all {
                files.cert = root.join(&files.cert);
                files.key = root.join(&files.key);
            }
        }
        Some(Certificates::Acme(acme)) => acme.root = acme.root.take().map(|path| root.join(path)),
        Some(Certificates::SelfSigned) | None => {}
    }
}

pub(crate) fn load_files(file: &Path, overlay: Option<&Path>) -> Result<Loaded, Failure> {
    let hash = RefCell::new(Sha256::new());
    let folder = folder(file);
    let main = read_source(file, &hash)?;
    let overlay = overlay.map(|path| read_source(path, &hash)).transpose()?;
    let files = |path: &Path| -> Result<FileText, FileError> {
        let full = folder.join(path);
        let text = FileText::new(
            fs::read(&full)?,
            fs::metadata(&full)?.permissions().mode() & 0o7777,
        );
        feed(&hash, path, &text.bytes);
        Ok(text)
    };
    let now = i64::try_from(Clock.unix_ms() / 1000).unwrap_or(i64::MAX);
    let certificates = |cert: &Path, key: &Path| {
        let pair = Pair::read(&folder.join(cert), &folder.join(key), now);
        pair.map(|pair| pair.names).map_err(|error| error.to_string())
    };
    let loaded = banyan_config::load(&Sources {
        main,
        overlay,
        files: &files,
        certificates: &certificates,
    })
    .map_err(Failure::Wrong)?;
    let digest = hash.into_inner().finalize();
    Ok(Loaded {
        config: loaded.config,
        secrets: loaded.secrets,
        warnings: loaded.warnings,
        hash: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn read_source(path: &Path, hash: &RefCell<Sha256>) -> Result<Source, Failure> {
    let bytes = fs::read(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .map_err(Failure::Unreadable)?;
    feed(hash, Path::new(path.file_name().unwrap_or_default()), &bytes);
    Ok(Source::new(path, bytes))
}

/// Lengths separate the parts, so that no two sets of files have the same bytes.
fn feed(hash: &RefCell<Sha256>, name: &Path, bytes: &[u8]) {
    let mut hash = hash.borrow_mut();
    for part in [name.as_os_str().as_encoded_bytes(), bytes] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
}

/// The folder that relative paths of a configuration are relative to.
pub(crate) fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_changes_with_any_file_and_only_then() {
        let digest = |parts: &[(&str, &str)]| {
            let hash = RefCell::new(Sha256::new());
            for (name, text) in parts {
                feed(&hash, Path::new(name), text.as_bytes());
            }
            hash.into_inner().finalize().to_vec()
        };
        assert_eq!(digest(&[("a", "1")]), digest(&[("a", "1")]));
        assert_ne!(digest(&[("a", "1")]), digest(&[("a", "2")]));
        assert_ne!(digest(&[("a", "12")]), digest(&[("a1", "2")]));
    }
}
