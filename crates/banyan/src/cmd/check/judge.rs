//! What the configuration alone tells: pure.

use banyan_config::{Config, Database, EdgeTable, ProcessTable, Template};

use banyan_supervisor::engine::identity::Identity;

use super::Group;
use crate::render::findings::{Finding, Level, of_identity};

/// What must be known beside the configuration.
pub(crate) struct Seen {
    pub(crate) identity: Identity,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn groups(config: &Config, seen: &Seen) -> Vec<Group> {
    vec![
        Group {
            class: "Transparent",
            means: "the app need not know",
            findings: transparent(config, seen),
        },
        Group {
            class: "Declared",
            means: "said in banyan.toml, no code",
            findings: declared(config, seen),
        },
        Group {
            class: "Co-operative",
            means: "the app's own code must take part",
            findings: co_operative(config),
        },
    ]
}

fn transparent(config: &Config, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((edge, process)) = front(config) {
        findings.push(balancing(edge, process));
        findings.push(deploy(edge, process));
        findings.push(liveness(edge, process));
        findings.push(exposure(edge));
    } else {
        findings.push(Finding::new(
            Level::Note,
            "traffic",
            "no process gets requests: workers only",
        ));
    }
    findings.push(of_identity(&seen.identity));
    findings
}

fn front(config: &Config) -> Option<(&EdgeTable, &ProcessTable)> {
    let edge = config.edge.as_ref()?;
    Some((edge, config.processes.get(&edge.process)?))
}

fn balancing(edge: &EdgeTable, process: &ProcessTable) -> Finding {
    let name = "several instances";
    match process.max {
        Some(1) => Finding::new(
            Level::Warning,
            name,
            format!("`{}` has max = 1: it cannot grow", edge.process),
        )
        .fix(format!(
            "remove max under [process.{}] when two may run at once",
            edge.process
        )),
        _ => {
            let now = match process.count {
                1 => "1 instance now: a crash is a gap until it is back".to_owned(),
                count => format!("{count} instances now"),
            };
            Finding::new(Level::Good, name, now)
        }
    }
}

fn deploy(edge: &EdgeTable, process: &ProcessTable) -> Finding {
    let name = "deploy without a gap";
    if process.max.is_some_and(|max| max <= process.count) {
        let seen = format!(
            "`{}` may not run twice in a deploy: the old stops before the new starts",
            edge.process
        );
        return Finding::new(Level::Warning, name, seen)
            .fix(format!("raise max under [process.{}]", edge.process));
    }
    match &process.settings.ready {
        Some(ready) => Finding::new(
            Level::Good,
            name,
            format!(
                "an instance gets requests once {} answers {}",
                ready.path, ready.status
            ),
        ),
        None => Finding::new(
            Level::Warning,
            name,
            format!(
                "`{}` has no readiness path: it gets requests as soon as its port accepts connections, \
                     so requests may fail while it warms up or loses its database",
                edge.process
            ),
        )
        .fix(format!(
            "[process.{}]\nready = {{ path = \"/healthz\" }}",
            edge.process
        )),
    }
}

fn liveness(edge: &EdgeTable, process: &ProcessTable) -> Finding {
    match &process.settings.live {
        Some(live) => Finding::new(
            Level::Good,
            "restart when stuck",
            format!("after {} failures of {}", live.failures, live.path),
        ),
        None => Finding::new(
            Level::Note,
            "restart when stuck",
            "only an exit restarts it, a hang does not",
        )
        .note(format!(
            "[process.{}] live = {{ path = \"/healthz\" }} would",
            edge.process
        )),
    }
}

fn exposure(edge: &EdgeTable) -> Finding {
    if edge.listen.ip().is_loopback() {
        Finding::new(
            Level::Good,
            "exposure",
            format!("{} is reached from this machine only", edge.listen),
        )
    } else if let Some(https) = edge.https {
        Finding::new(
            Level::Good,
            "exposure",
            format!("{https} is reached from outside, by https"),
        )
    } else {
        Finding::new(
            Level::Warning,
            "exposure",
            format!("{} is reached from outside, without TLS", edge.listen),
        )
        .fix("[edge]\ntls = \"self-signed\"    # or { cert = \"…\", key = \"…\" }; or a TLS proxy in front, named in trusted_proxies")
    }
}

fn declared(config: &Config, seen: &Seen) -> Vec<Finding> {
    let mut findings: Vec<Finding> = seen
        .warnings
        .iter()
        .map(|warning| Finding::new(Level::Warning, "configuration", warning.clone()))
        .collect();
    let literals = literal_secrets(config);
    if literals.is_empty() {
        findings.push(Finding::new(
            Level::Good,
            "secrets",
            "none is written in banyan.toml",
        ));
    } else {
        let seen = format!(
            "written in banyan.toml, where everyone who reads the repository sees it: {}",
            literals.join(", ")
        );
        let (first, name) = (&literals[0], config.app.secrets.as_ref());
        let file = name.map_or("secrets.env".to_owned(), |path| path.display().to_string());
        findings.push(Finding::new(Level::Warning, "secrets", seen).fix(format!(
            "move it to {file} (mode 0600) and write {first} = \"{{{{secret.{first}}}}}\""
        )));
    }
    findings.push(match (&config.app.release, &config.database) {
        (Some(_), _) => Finding::new(
            Level::Good,
            "migrations",
            "the release command runs once per deploy, before the new instances",
        ),
        (None, Some(_)) => Finding::new(
            Level::Note,
            "migrations",
            "no release command: nothing migrates the database",
        )
        .note("[app] release = \"…\" runs once per deploy; its failure stops the deploy"),
        (None, None) => Finding::new(Level::Good, "migrations", "no database"),
    });
    for (name, process) in &config.processes {
        let singleton = ["clock", "cron", "scheduler", "beat"]
            .iter()
            .any(|word| name.as_str().contains(word));
        if singleton && process.max != Some(1) {
            findings.push(
                Finding::new(
                    Level::Warning,
                    "singleton",
                    format!("`{name}` sounds like it must never run twice"),
                )
                .fix(format!("[process.{name}]\nmax = 1")),
            );
        }
    }
    if let Some(Database::External(_)) = &config.database {
        findings.push(Finding::new(
            Level::Note,
            "database",
            "your own: its backups and failover are its business",
        ));
    }
    findings
}

/// Names that sound secret and have a literal value.
fn literal_secrets(config: &Config) -> Vec<String> {
    const SOUNDS_SECRET: [&str; 6] = ["SECRET", "PASSWORD", "TOKEN", "API_KEY", "APIKEY", "PRIVATE_KEY"];
    let literal = |(name, value): (&String, &Template)| {
        let upper = name.to_uppercase();
        let secret = SOUNDS_SECRET.iter().any(|word| upper.contains(word));
        (secret && !value.as_str().is_empty() && !value.as_str().contains("{{")).then(|| name.clone())
    };
    let processes = config.processes.values().flat_map(|process| &process.env);
    let mut names: Vec<String> = config
        .app
        .env
        .iter()
        .chain(processes)
        .filter_map(literal)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn co_operative(config: &Config) -> Vec<Finding> {
    let many = front(config).is_some_and(|(_, process)| process.count > 1);
    let seen = "cannot be seen from outside: sessions, caches and uploads kept in one process's memory or folder \
                are not seen by the other instances, and a deploy loses the memory";
    let level = if many { Level::Warning } else { Level::Note };
    let sessions = Finding::new(level, "state in the process", seen)
        .note("keep sessions in the database or in signed cookies, and files in $BANYAN_DATA_DIR");
    vec![if many {
        sessions.fix("make sure of it before count > 1")
    } else {
        sessions
    }]
}
