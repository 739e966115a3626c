//! Texts in, one [`Config`] out: parse, merge, check against the key table, build, judge the whole.

use std::path::{Path, PathBuf};

use crate::error::{Errors, Problem};
use crate::files::{Files, add_text};
use crate::keys::ROOT;
use crate::model::Config;
use crate::read::Reader;
use crate::report::{FileId, Place, Report};
use crate::scope::Scope;
use crate::secrets::Secrets;
use crate::source::{JudgeCertificate, Sources};
use crate::tree::{self, Entry, Value};
use crate::{alerts, app, check, database, edge, listener, logs, process, redis, route, scale};

/// The version of banyan.toml that this crate reads.
const VERSION: i128 = 1;

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub secrets: Secrets,
    /// Allowed, but probably not meant.
    pub warnings: Vec<Problem>,
}

/// All errors at once, in the order of the files and lines.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Errors> {
    let report = Report::default();
    let main = parse(sources, &report);
    let Some((main, mut entries)) = main else {
        return Err(report.finish().expect_err("parsing fails only with an error"));
    };
    check::table(&mut entries, ROOT, "", None, &report);
    let folder = sources.main.path.parent().map(Path::to_owned).unwrap_or_default();
    let files = Files {
        read: sources.files,
        folder,
        report: &report,
    };
    let built = build(
        &Reader::new(&entries, ROOT),
        main,
        &files,
        sources.certificates,
        &report,
    );
    let warnings = report.finish()?;
    // Without an error, everything could be built.
    let (config, secrets) = built.expect("what cannot be built was reported");
    Ok(Loaded {
        config,
        secrets,
        warnings,
    })
}

/// `None`: a syntax error or another version, so that further checks would only add noise.
fn parse(sources: &Sources<'_>, report: &Report) -> Option<(FileId, Vec<Entry>)> {
    let (main, text) = add_text(&sources.main.path, sources.main.bytes.clone(), false, report);
    let mut entries = tree::parse(&text, main, report);
    if let Some(overlay) = &sources.overlay {
        let (file, text) = add_text(&overlay.path, overlay.bytes.clone(), false, report);
        tree::merge(&mut entries, tree::parse(&text, file, report));
    }
    (!report.has_errors() && version(&entries, main, report)).then_some((main, entries))
}

/// False: another version.
fn version(entries: &[Entry], main: FileId, report: &Report) -> bool {
    let Some(entry) = entries.iter().find(|entry| entry.name == "version") else {
        report.file_error(
            main,
            "`version` is missing",
            &["write version = 1 as the first line"],
        );
        return true;
    };
    match entry.node.value {
        Value::Integer(version) if version > VERSION => {
            let message =
                format!("version {version} is newer than this Banyan, which reads version {VERSION}");
            report.error(&entry.node.place, message, &["install a newer Banyan"]);
            false
        }
        _ => true,
    }
}

/// `None`: something without which there is no Config is wrong, and has been reported.
fn build(
    root: &Reader<'_>,
    main: FileId,
    files: &Files<'_>,
    certificates: &JudgeCertificate<'_>,
    report: &Report,
) -> Option<(Config, Secrets)> {
    let table = root.table("app");
    let (secrets_path, secrets) = app::secrets(&table, files, report);
    let scope = Scope {
        report,
        database: root.has("database"),
        redis: redis::written(root),
        secrets_path,
        secrets,
        used_secrets: Default::default(),
    };
    let dir = PathBuf::from(table.text_or_default("dir"));
    let hosts = process::hosts(root);
    let procfile = app::procfile(&table, &dir, files, report);
    let app = app::build(&table, &dir, &procfile, files, &scope);
    let mut processes = process::build(root, &procfile, &app, &hosts, &scope);
    if processes.is_empty() && !root.has("process") && !root.has("edge") && !report.has_errors() {
        let help = "write a Procfile with a line web: command, or command = \"…\" in [process.web]";
        report.file_error(main, "there is nothing to run: no process is defined", &[help]);
    }
    let mut edge = edge::build(root, &processes, &hosts, certificates, files);
    let routes = route::build(root, edge.as_ref(), &processes, files, report);
    if let Some(edge) = &mut edge {
        edge.routes = routes;
        crate::origin::check_use(root, edge, report);
    }
    listener::build(root, edge.as_mut(), &processes, report);
    crate::place::build(root, edge.as_mut(), report);
    scale::build(root, edge.as_ref(), &mut processes, report);
    crate::zone::edge_has_one(root, edge.as_ref(), &processes, report);
    let database = database::build(root, edge.as_ref(), &scope);
    scale::connections::check(root, database.as_ref(), &processes, report);
    let redis = redis::build(root, edge.as_ref(), database.as_ref(), &scope);
    if let Some(edge) = &mut edge {
        crate::filter::count_limits(root, edge, &scope.redis, report);
    }
    let alerts = alerts::build(root, edge.as_ref(), files);
    if !root.has("name") {
        report.file_error(
            main,
            "`name` is missing",
            &["write name = \"myapp\" below `version`: the name of the installation"],
        );
    }
    warn_about_unused_secrets(&table, &scope);
    let name = root.text("name")?.value.parse().ok()?;
    let secrets = scope.secrets?;
    Some((
        Config {
            name,
            app,
            processes,
            edge,
            database,
            redis,
            alerts,
            observe: crate::observe::build(root, report),
            logs: logs::build(&root.table("logs"), report),
            hosts,
        },
        secrets,
    ))
}

fn warn_about_unused_secrets(app: &Reader<'_>, scope: &Scope<'_>) {
    let (Some(path), Some(secrets)) = (app.text("secrets"), &scope.secrets) else {
        return;
    };
    let used = scope.used_secrets.borrow();
    let place: &Place = &path.place;
    for name in secrets.names().filter(|name| !used.contains(*name)) {
        let help = format!("to pass it to the app, write {name} = \"{{{{secret.{name}}}}}\" in [app.env]");
        scope.report.warning(
            place,
            format!("secret `{name}` is defined, but nothing uses it"),
            &[&help],
        );
    }
}
