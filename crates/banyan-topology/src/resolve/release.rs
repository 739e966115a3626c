//! Which release runs: the same while its content is the same, a new one for a deploy, an older one by rollback.

use std::collections::BTreeMap;

use banyan_config::{App, Config, Database, Protocol, Purpose, Redis, Template};

use crate::facts::Facts;
use crate::id::ReleaseId;
use crate::model::{Launch, Release, Topology};
use crate::resolve::{Change, ResolveError};

pub(super) struct Picked {
    pub(super) release: Release,
    pub(super) is_new: bool,
    pub(super) pinned: Option<ReleaseId>,
}

pub(super) fn pick(
    config: &Config,
    facts: &Facts,
    current: &Topology,
    change: &Change,
    notes: &mut Vec<String>,
) -> Result<Picked, ResolveError> {
    let configured = configured(config, facts, current);
    match (change, facts.pinned) {
        (Change::Rollback { to }, _) => {
            let release = rollback(*to, facts, current)?;
            if !facts.served.contains(&release.id) {
                notes.push(format!(
                    "{} never served here: its deploy did not end well",
                    release.id
                ));
            }
            let until = "`banyan deploy` goes forward again; what its release command did to the data stays";
            notes.push(format!("{} is kept until the next deploy; {until}", release.id));
            Ok(Picked {
                pinned: Some(release.id),
                release,
                is_new: false,
            })
        }
        (Change::Configuration | Change::Switchover { .. } | Change::Scale { .. }, Some(pinned)) => {
            let release = facts
                .releases
                .get(&pinned)
                .ok_or(ResolveError::PinnedLost(pinned))?
                .clone();
            if !release.same_content(&configured) {
                let what = "commands, environment and programs of the configuration wait for `banyan deploy`";
                notes.push(format!(
                    "{pinned} is kept since a rollback or a failed deploy: {what}"
                ));
            }
            Ok(Picked {
                release,
                is_new: false,
                pinned: Some(pinned),
            })
        }
        (Change::Deploy, _) => Ok(Picked {
            release: configured,
            is_new: true,
            pinned: None,
        }),
        (Change::Configuration | Change::Switchover { .. } | Change::Scale { .. }, None) => {
            Ok(match unchanged(&configured, facts, current) {
                Some(release) => Picked {
                    release: release.clone(),
                    is_new: false,
                    pinned: None,
                },
                None => Picked {
                    release: configured,
                    is_new: true,
                    pinned: None,
                },
            })
        }
    }
}

/// The kept release that the configuration describes: the current one, or a newer one whose deploy did not end.
///
/// Not an older one: going back in content is a new release, so that `rollback` returns to the one in between.
fn unchanged<'a>(configured: &Release, facts: &'a Facts, current: &Topology) -> Option<&'a Release> {
    let from = head(facts, current).unwrap_or(ReleaseId(0));
    // Only while it moves does it matter which port a release was made for.
    let moves = current.pgproxy.as_ref().is_some_and(|proxy| {
        !proxy.before.is_empty()
            || configured
                .proxy_port
                .is_some_and(|port| port != proxy.listen.port())
    });
    let same = |release: &&Release| {
        let told = Release {
            proxy_port: if moves {
                release.proxy_port
            } else {
                configured.proxy_port
            },
            ..(*release).clone()
        };
        told.same_content(configured)
    };
    facts
        .releases
        .get(&from)
        .filter(same)
        .or_else(|| facts.releases.range(from..).map(|(_, r)| r).rfind(same))
}

/// The proxy's port, or, when all is down, the one that it had.
fn leads_to(facts: &Facts, current: &Topology) -> Option<u16> {
    let running = current.pgproxy.as_ref().map(|pgproxy| pgproxy.listen.port());
    running.or(facts.remembered.pgproxy_port)
}

/// The release in use, or, when all is down, the one that was.
fn head(facts: &Facts, current: &Topology) -> Option<ReleaseId> {
    current
        .release
        .or(facts.pinned)
        .or_else(|| facts.served.last().copied())
}

fn rollback(to: Option<ReleaseId>, facts: &Facts, current: &Topology) -> Result<Release, ResolveError> {
    let head = head(facts, current).ok_or(ResolveError::NoRelease)?;
    let wanted = match to {
        Some(wanted) => wanted,
        None => {
            let kept_and_served = |id: &&ReleaseId| facts.releases.contains_key(id);
            let before = facts.served.range(..head).rfind(kept_and_served);
            *before.ok_or(ResolveError::NothingBefore(head))?
        }
    };
    let known = || facts.releases.keys().copied().collect();
    let release = facts.releases.get(&wanted);
    let release = release.ok_or_else(|| ResolveError::UnknownRelease {
        wanted,
        known: known(),
    })?;
    if wanted == head {
        Err(ResolveError::AlreadyCurrent(wanted))
    } else {
        Ok(release.clone())
    }
}

/// The release that the configuration describes, under the next number.
fn configured(config: &Config, facts: &Facts, current: &Topology) -> Release {
    // Secrets are in by their digest: the values and names themselves stay out.
    let App {
        dir,
        release,
        user,
        env,
        secrets: _,
        secret_names: _,
        files,
    } = &config.app;
    let database_url = config.database.as_ref().map(|database| match database {
        Database::External(external) if external.pgproxy.direct => external.url.clone(),
        Database::External(_) | Database::Managed(_) => Template::literal("{{database.url}}"),
    });
    let pgproxy = match &config.database {
        Some(Database::Managed(managed)) => Some(&*managed.pgproxy),
        Some(Database::External(external)) => Some(&external.pgproxy),
        None => None,
    };
    let pgproxy = pgproxy.filter(|pgproxy| !pgproxy.direct);
    let mut common = BTreeMap::new();
    common.extend(database_url.clone().map(|url| ("DATABASE_URL".to_owned(), url)));
    if database_url.is_some() {
        let past_the_proxy = Template::literal("{{database.direct.url}}");
        common.insert("DATABASE_DIRECT_URL".to_owned(), past_the_proxy);
    }
    for purpose in config.redis.keys() {
        let url = Template::literal(format!("{{{{{purpose}.url}}}}"));
        common.insert(purpose.variable().to_owned(), url);
    }
    common.extend(env.clone());
    let command = |(name, table): (&_, &banyan_config::ProcessTable)| {
        let mut env = common.clone();
        env.extend(table.env.clone());
        (
            Clone::clone(name),
            Launch {
                argv: table.argv.clone(),
                env,
                protocol: table.protocol,
            },
        )
    };
    Release {
        id: facts.next_release,
        dir: dir.clone(),
        user: user.clone(),
        database_url,
        redis: config.redis.iter().map(redis_url).collect(),
        proxied: pgproxy.is_some(),
        proxy_port: pgproxy.and_then(|pgproxy| pgproxy.port.or(leads_to(facts, current))),
        commands: config.processes.iter().map(command).collect(),
        release_command: release.as_ref().map(|argv| Launch {
            argv: argv.clone(),
            env: common.clone(),
            protocol: Protocol::default(),
        }),
        files: files.clone(),
        programs: facts.programs.clone(),
        secrets_digest: facts.secrets_digest.clone(),
    }
}

fn redis_url((purpose, redis): (&Purpose, &Redis)) -> (Purpose, Template) {
    let url = match redis {
        Redis::External(external) => external.url.clone(),
        Redis::Managed(_) => Template::literal(format!("{{{{{purpose}.url}}}}")),
    };
    (*purpose, url)
}
