//! Text in, text out: what people write, and what they are told.

mod aggregate;
mod alerts;
mod auth;
mod cache;
mod detect;
mod errors;
mod filters;
mod grpc;
mod listeners;
mod load;
mod logs;
mod observe;
mod origins;
mod places;
mod properties;
mod routes;
mod scale;
mod tls;
mod values;
mod zones;

use std::collections::BTreeMap;
use std::path::Path;

use banyan_config::{Errors, FileError, FileText, Loaded, Source, Sources};

/// Files in one text, each after a line `--- path` or `--- path 644`. `banyan.toml` is required, `overlay.toml` laid
/// on top if there.
pub(crate) fn load(text: &str) -> Result<Loaded, Errors> {
    let mut files: BTreeMap<String, (String, u32)> = BTreeMap::new();
    let mut current = "banyan.toml".to_owned();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("--- ") {
            let (name, mode) = header.split_once(' ').unwrap_or((header, "600"));
            current = name.to_owned();
            files.insert(
                current.clone(),
                (
                    String::new(),
                    u32::from_str_radix(mode, 8).expect("an octal mode"),
                ),
            );
        } else {
            let (file, _) = files.entry(current.clone()).or_insert((String::new(), 0o600));
            file.push_str(line);
            file.push('\n');
        }
    }
    let source = |name: &str| files.get(name).map(|(text, _)| Source::new(name, text.as_str()));
    let read = |path: &Path| {
        let path = path.strip_prefix(".").unwrap_or(path).to_string_lossy();
        let below = format!("{path}/");
        if files.keys().any(|name| name.starts_with(&below)) {
            return Err(FileError::Folder);
        }
        let (text, mode) = files.get(path.as_ref()).ok_or(FileError::Missing)?;
        Ok(FileText::new(text.as_str(), *mode))
    };
    // A certificate of these tests is a file with the names it is for.
    let judge = |cert: &Path, key: &Path| {
        let (names, _) = files
            .get(cert.to_string_lossy().as_ref())
            .ok_or(format!("failed to read {}", cert.display()))?;
        if !files.contains_key(key.to_string_lossy().as_ref()) {
            return Err(format!("failed to read {}", key.display()));
        }
        Ok(names.split_whitespace().map(str::to_owned).collect())
    };
    let main = source("banyan.toml").unwrap_or_else(|| Source::new("banyan.toml", ""));
    banyan_config::load(&Sources {
        main,
        overlay: source("overlay.toml"),
        files: &read,
        certificates: &judge,
    })
}

/// The errors as people see them, or `no error` and the warnings.
pub(crate) fn told(text: &str) -> String {
    match load(text) {
        Err(errors) => errors.to_string(),
        Ok(loaded) => {
            let warnings = loaded
                .warnings
                .iter()
                .map(|warning| format!("warning: {warning}\n"));
            format!("{}no error", warnings.collect::<String>())
        }
    }
}
