//! The files of `[auth.NAME]`: who may read them, and whether each line can be used. Their lines are never shown.

use std::path::Path;

use crate::files::{File, Files};
use crate::read::Spot;

/// A file of `name:value` lines, empty lines and `#` comments.
pub(super) fn lines(
    spot: &Spot<String>,
    files: &Files<'_>,
    sound: impl Fn(&str) -> bool,
    wanted: &str,
    how: &str,
) {
    let Some(file) = private(spot, files) else { return };
    let mut names: Vec<&str> = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = match line.split_once(':') {
            Some((name, value)) if is_name(name) && sound(value) && !names.contains(&name) => {
                names.push(name);
                None
            }
            Some((name, _)) if names.contains(&name) => Some("names somebody who is named above".to_owned()),
            Some((name, _)) if !is_name(name) => {
                Some("has a name that cannot be in a header: visible ASCII characters, 64 at most".to_owned())
            }
            Some(_) => Some(format!(
                "has no {}",
                wanted.trim_start_matches("a ").trim_start_matches("an ")
            )),
            None => Some("is not NAME:HASH".to_owned()),
        };
        if let Some(wrong) = wrong {
            let help = format!("each line is NAME: and {wanted}; make one by: {how}");
            files.report.error(
                &spot.place,
                format!("line {} of {} {wrong}", n + 1, file.shown.display()),
                &[&help],
            );
        }
    }
    if names.is_empty() && !files.report.has_errors() {
        let message = format!("{} names nobody: everybody is refused", file.shown.display());
        files.report.warning(&spot.place, message, &[]);
    }
}

/// RFC 7517.
pub(super) fn key_set(spot: &Spot<String>, files: &Files<'_>) {
    let Some(file) = read(spot, files) else { return };
    // Public keys may be read by all, but who can change them can log in.
    let mask = if file.text.contains("\"oct\"") {
        0o077
    } else {
        0o022
    };
    if !kept(&file, mask, spot, files) {
        return;
    }
    let keys = serde_json::from_str::<serde_json::Value>(&file.text)
        .ok()
        .and_then(|set| {
            Some(
                set.get("keys")?
                    .as_array()?
                    .iter()
                    .filter(|key| key.get("kty").is_some())
                    .count(),
            )
        });
    if keys.unwrap_or(0) == 0 {
        let help = "a JSON Web Key Set is { \"keys\": [{ \"kty\": \"RSA\", … }] }";
        files.report.error(
            &spot.place,
            format!("{} holds no keys", file.shown.display()),
            &[help],
        );
    }
}

/// Reported if it cannot be read, or can be read by others.
fn private(spot: &Spot<String>, files: &Files<'_>) -> Option<File> {
    read(spot, files).filter(|file| kept(file, 0o077, spot, files))
}

fn kept(file: &File, mask: u32, spot: &Spot<String>, files: &Files<'_>) -> bool {
    if file.mode & mask == 0 {
        return true;
    }
    let what = if mask == 0o077 { "read" } else { "change" };
    let message = format!(
        "others can {what} {} (mode {:o})",
        file.shown.display(),
        file.mode
    );
    let help = format!("chmod 600 {}", file.shown.display());
    files.report.error(&spot.place, message, &[&help]);
    false
}

fn read(spot: &Spot<String>, files: &Files<'_>) -> Option<File> {
    files
        .read(Path::new(&spot.value), true)
        .map_err(|(shown, error)| {
            let message = format!("failed to read {}: {error}", shown.display());
            let help = "the path is relative to banyan.toml";
            files.report.error(&spot.place, message, &[help]);
        })
        .ok()
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn is_password_hash(text: &str) -> bool {
    let bcrypt = ["$2y$", "$2b$", "$2a$"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        && text.len() == 60;
    let argon2 = ["$argon2id$", "$argon2i$", "$argon2d$"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        && text.split('$').count() >= 5;
    bcrypt || argon2
}
