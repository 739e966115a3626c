//! `[app]`: where the app is, what it needs before it starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::Files;
use crate::keys::{SET_BY_BANYAN, SET_UNLESS_GIVEN};
use crate::model::{App, FileTemplate};
use crate::procfile::{self, Procfile};
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::scope::{Environment, Scope, Use};
use crate::secrets::{self, Secrets};
use crate::source::FileError;
use crate::template::Template;
use crate::tree::{Entry, Value};

/// `Some(None)` inside: there is a file, but it could not be read (reported).
pub(crate) fn secrets(
    app: &Reader<'_>,
    files: &Files<'_>,
    report: &Report,
) -> (Option<PathBuf>, Option<Secrets>) {
    let Some(path) = app.text("secrets") else {
        // A wrong `secrets` has been reported; what refers to it must not be reported again.
        return if app.has("secrets") {
            (Some(PathBuf::new()), None)
        } else {
            (None, Some(Secrets::default()))
        };
    };
    let written = PathBuf::from(&path.value);
    let file = match files.read(&written, true) {
        Ok(file) => file,
        Err((shown, why)) => {
            let message = format!("cannot read the secrets file {}: {why}", shown.display());
            let create = format!("create it: install -m 600 /dev/null {}", shown.display());
            let help = if why == FileError::Missing {
                create.as_str()
            } else {
                "make it readable for the user who runs Banyan"
            };
            report.error(&path.place, message, &[help]);
            return (Some(written), None);
        }
    };
    if file.mode & 0o077 != 0 {
        let message = format!(
            "other users can read this file: its mode is {:04o}",
            file.mode & 0o7777
        );
        report.file_error(
            file.id,
            message,
            &[&format!("run: chmod 600 {}", file.shown.display())],
        );
    }
    (Some(written), Some(secrets::parse(&file.text, file.id, report)))
}

/// Absent is fine unless it was asked for.
pub(crate) fn procfile(app: &Reader<'_>, dir: &Path, files: &Files<'_>, report: &Report) -> Procfile {
    if app.has("procfile") && app.text("procfile").is_none() {
        return Procfile::empty();
    }
    match files.read(&dir.join(app.text_or_default("procfile")), false) {
        Ok(file) => procfile::parse(&file.text, file.id, report),
        Err((shown, why)) => {
            let asked = app.text("procfile");
            if let Some(asked) = asked {
                let message = format!("cannot read {}: {why}", shown.display());
                report.error(
                    &asked.place,
                    message,
                    &["the path is relative to the app's folder, `dir` in [app]"],
                );
            } else if why != FileError::Missing {
                let id = report.add_file(&shown, "", false);
                report.file_error(
                    id,
                    format!("cannot read it: {why}"),
                    &["make it readable, or move it away"],
                );
            }
            Procfile::empty()
        }
    }
}

pub(crate) fn build(
    app: &Reader<'_>,
    dir: &Path,
    procfile: &Procfile,
    files: &Files<'_>,
    scope: &Scope<'_>,
) -> App {
    let env = environment(app, scope);
    let release = app.text("release").or_else(|| procfile.release.clone());
    let release = release.map(|text| scope.command(&text, Use::Release, &visible(scope, &[&env]), ""));
    App {
        dir: dir.to_owned(),
        release,
        user: app.text("user").map(|user| user.value),
        env,
        secrets: scope.secrets_path.clone(),
        secret_names: scope
            .secrets
            .iter()
            .flat_map(Secrets::names)
            .map(str::to_owned)
            .collect(),
        files: templates(app, dir, files, scope),
    }
}

fn templates(app: &Reader<'_>, dir: &Path, files: &Files<'_>, scope: &Scope<'_>) -> Vec<FileTemplate> {
    let (items, keys) = app.items("files");
    let mut templates = Vec::new();
    for item in items {
        let Value::Table(entries) = &item.value else {
            continue;
        };
        let file = Reader::new(entries, keys);
        let (Some(from), Some(to)) = (file.text("from"), file.text("to")) else {
            continue;
        };
        if from.value == to.value {
            let help = "name the template differently, for example with .in at the end";
            scope
                .report
                .error(&to.place, "the file would overwrite its own template", &[help]);
            continue;
        }
        match files.read(&dir.join(&from.value), false) {
            Ok(read) => {
                let range = 0..read.text.len();
                let place = crate::report::Place { file: read.id, range };
                let text = scope.template(
                    &Spot {
                        value: read.text,
                        place,
                    },
                    Use::File,
                );
                templates.push(FileTemplate {
                    from: from.value.into(),
                    to: to.value.into(),
                    text,
                });
            }
            Err((shown, why)) => {
                let message = format!("cannot read {}: {why}", shown.display());
                scope.report.error(
                    &from.place,
                    message,
                    &["the path is relative to the app's folder, `dir` in [app]"],
                );
            }
        }
    }
    templates
}

/// The `env` table of `[app]` or of a process.
pub(crate) fn environment(table: &Reader<'_>, scope: &Scope<'_>) -> BTreeMap<String, Template> {
    let text = |entry: &Entry| match &entry.node.value {
        Value::Text(text) => {
            let spot = Spot {
                value: text.clone(),
                place: entry.node.place.clone(),
            };
            Some((entry.name.clone(), scope.template(&spot, Use::Environment)))
        }
        // Reported; the name still counts as set.
        _ => Some((entry.name.clone(), Template::literal(""))),
    };
    table.map("env").0.iter().filter_map(text).collect()
}

/// All that a command started with these tables sees; later tables win.
pub(crate) fn visible(scope: &Scope<'_>, tables: &[&BTreeMap<String, Template>]) -> Environment {
    let fixed = SET_BY_BANYAN
        .iter()
        .chain(&SET_UNLESS_GIVEN)
        .map(|name| (*name).to_owned());
    let mut visible = Environment {
        names: fixed.collect(),
        secret: Default::default(),
    };
    if scope.database {
        for name in ["DATABASE_URL", "DATABASE_DIRECT_URL"] {
            visible.names.insert(name.to_owned());
            visible.secret.insert(name.to_owned());
        }
    }
    for purpose in scope.redis.keys() {
        visible.names.insert(purpose.variable().to_owned());
        visible.secret.insert(purpose.variable().to_owned());
    }
    for (name, template) in tables.iter().copied().flatten() {
        visible.names.insert(name.clone());
        if template.placeholders().any(|placeholder| placeholder.is_secret()) {
            visible.secret.insert(name.clone());
        } else {
            visible.secret.remove(name);
        }
    }
    visible
}
