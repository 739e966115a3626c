//! What the facts mean: pure.

use std::path::Path;
use std::time::Duration;

use banyan_supervisor::CgroupUse;

use super::{BackupFact, ConfigFact, Facts, PortFact, ProgramFact, WantedPostgres};
use crate::machine::System;
use crate::render::findings::{Finding, Level, of_identity};
use crate::render::{self, amount};

/// Below this, PostgreSQL's first start and a few logs already fill the disk.
const DISK_PROBLEM: u64 = 512 << 20;
const DISK_WARNING: u64 = 4 << 30;
/// An edge with ten thousand clients needs two descriptors for each.
const OPEN_FILES: u64 = 20_000;
/// A clock before the day this program was written is wrong.
const CLOCK_AT_LEAST_MS: u64 = 1_760_000_000_000;

/// No choice here looks at the machine.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![system(facts), configuration(&facts.config)];
    findings.extend(facts.wanted_postgres.map(|wanted| postgres(wanted, facts)));
    findings.extend(facts.backups.as_ref().map(|fact| backups(fact, facts)));
    findings.extend(facts.programs.iter().map(program));
    findings.extend(facts.pgproxy.as_ref().map(super::proxy::judge));
    findings.extend(
        facts
            .redis
            .iter()
            .map(|fact| super::redis::judge(fact, &facts.system)),
    );
    findings.extend(facts.identity.as_ref().map(of_identity));
    findings.extend(facts.ports.iter().map(port));
    findings.push(open_files(facts));
    findings.push(cgroup(facts.cgroup));
    findings.extend(facts.disk.as_ref().map(|(path, free)| disk(path, *free)));
    findings.push(clock(facts));
    findings
}

fn system(facts: &Facts) -> Finding {
    let memory = facts
        .memory
        .map(|bytes| format!(", {} memory", amount::bytes(bytes)))
        .unwrap_or_default();
    let user = if facts.system.root { ", as root" } else { "" };
    Finding::new(
        Level::Good,
        "system",
        format!("{}{memory}{user}", facts.system.name),
    )
}

fn configuration(config: &ConfigFact) -> Finding {
    match config {
        ConfigFact::Good(file) => Finding::new(Level::Good, "configuration", file.clone()),
        ConfigFact::Missing(file) => Finding::new(
            Level::Warning,
            "configuration",
            format!("there is no {file} here"),
        )
        .fix("banyan init"),
        ConfigFact::Wrong(errors) => Finding::new(Level::Problem, "configuration", errors.clone()),
    }
}

fn postgres(wanted: WantedPostgres, facts: &Facts) -> Finding {
    let installed = &facts.installed_postgres;
    let needed = wanted.of_data.or(wanted.configured);
    if let (Some(data), Some(configured)) = (wanted.of_data, wanted.configured)
        && data != configured
    {
        let seen = format!(
            "the data directory is of PostgreSQL {data}, and banyan.toml says postgres = {configured}; \
             one cannot read the other's files"
        );
        return Finding::new(Level::Problem, "PostgreSQL", seen).fix(format!(
            "set postgres = {data} under [database], or leave the key away"
        ));
    }
    let list = installed
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    match needed {
        Some(version) if installed.contains(&version) => {
            Finding::new(Level::Good, "PostgreSQL", format!("{version} is installed"))
        }
        None if !installed.is_empty() => Finding::new(Level::Good, "PostgreSQL", format!("{list} installed")),
        needed => {
            let others = if installed.is_empty() {
                String::new()
            } else {
                format!(" (there is {list})")
            };
            let seen = match needed {
                Some(version) => format!("{version} is not installed{others}"),
                None => "no server is installed".to_owned(),
            };
            Finding::new(Level::Problem, "PostgreSQL", seen)
            .fix(install(needed, &facts.system))
            .note("Debian's package starts a cluster of its own on port 5432. Banyan leaves that one alone:")
            .note("its own PostgreSQL has another folder and another port. To stop Debian's:")
            .note("sudo systemctl disable --now postgresql")
        }
    }
}

fn backups(fact: &BackupFact, facts: &Facts) -> Finding {
    let name = "backups";
    let path = fact.path.display();
    if !fact.installed {
        let sudo = if facts.system.root { "" } else { "sudo " };
        return Finding::new(Level::Problem, name, "pgBackRest is not installed")
            .fix(format!("{sudo}apt-get install -y pgbackrest"));
    }
    let Some(state) = &fact.state else {
        return Finding::new(
            Level::Note,
            name,
            format!("none were made yet; they go to {path}"),
        );
    };
    let mut problems = render::backup::problems(state).into_iter();
    if let Some(first) = problems.next() {
        let finding = Finding::new(Level::Problem, name, first);
        return problems.fold(finding, Finding::note);
    }
    match &state.last {
        Some(last) => {
            let age = Duration::from_millis(facts.now_ms.saturating_sub(last.stop_ms));
            let seen = format!("in {path}, the last one {} ago", amount::age(age));
            Finding::new(Level::Good, name, seen)
        }
        None => Finding::new(Level::Warning, name, format!("there is none in {path} yet"))
            .fix("banyan backup now"),
    }
}

/// The exact command; PostgreSQL's own repository for versions that the distribution lacks.
fn install(version: Option<u32>, system: &System) -> String {
    let sudo = if system.root { "" } else { "sudo " };
    if !system.apt {
        let version = version.map(|version| format!(" {version}")).unwrap_or_default();
        return format!(
            "install PostgreSQL{version} so that /usr/lib/postgresql/VERSION/bin/postgres exists"
        );
    }
    match version.or(system.distribution_postgres) {
        None => format!("{sudo}apt-get install -y postgresql"),
        Some(version) if system.distribution_postgres.is_none_or(|own| own == version) => {
            format!("{sudo}apt-get install -y postgresql-{version}")
        }
        Some(version) => format!(
            "{sudo}apt-get install -y postgresql-common && \
             {sudo}/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && \
             {sudo}apt-get install -y postgresql-{version}"
        ),
    }
}

fn program(fact: &ProgramFact) -> Finding {
    let name = format!("command of {}", fact.process);
    match &fact.found {
        Some(path) => Finding::new(Level::Good, name, path.display().to_string()),
        None if fact.program.contains('/') => Finding::new(
            Level::Problem,
            name,
            format!("there is no program {}", fact.program),
        )
        .fix("build the app, or correct the command in banyan.toml"),
        None => Finding::new(Level::Problem, name, format!("{} is not in PATH", fact.program)).fix(format!(
            "install {}, or write its path in banyan.toml",
            fact.program
        )),
    }
}

fn port(fact: &PortFact) -> Finding {
    let name = format!("port {} ({})", fact.port, fact.purpose);
    match &fact.holder {
        None => Finding::new(Level::Good, name, "free"),
        Some(_) if fact.ours => Finding::new(Level::Good, name, "used by this installation, which runs"),
        Some(holder) => {
            let who = match (&holder.program, holder.pid) {
                (Some(program), Some(pid)) => format!("in use by {program} (pid {pid})"),
                _ => "in use by a program of another user".to_owned(),
            };
            let finding = Finding::new(Level::Problem, name, who);
            match holder.pid {
                Some(pid) => finding.fix(format!("kill {pid}, or set {} to another port", fact.key)),
                None => finding
                    .fix(format!("set {} to another port", fact.key))
                    .note(format!(
                        "sudo ss -ltnp 'sport = :{}' shows which program it is",
                        fact.port
                    )),
            }
        }
    }
}

fn open_files(facts: &Facts) -> Finding {
    let text = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let (soft, hard) = facts.open_files;
    let seen = format!("{} per process, {} at most", text(soft), text(hard));
    if hard.is_none_or(|hard| hard >= OPEN_FILES) {
        return Finding::new(Level::Good, "open files", seen);
    }
    Finding::new(
        Level::Warning,
        "open files",
        format!(
            "{seen}: the edge can serve about {} clients",
            hard.unwrap_or(0) / 2
        ),
    )
    .fix(format!(
        "echo '* - nofile {}' | sudo tee /etc/security/limits.d/banyan.conf; then log in again",
        1 << 20
    ))
}

fn cgroup(cgroup: CgroupUse) -> Finding {
    match cgroup {
        CgroupUse::Usable => Finding::new(Level::Good, "cgroups", "each child gets a group of its own"),
        CgroupUse::NotPermitted => Finding::new(Level::Note, "cgroups", "not permitted for this user")
            .note("children are ended by process group instead; a child that leaves its group can escape"),
        CgroupUse::Absent => Finding::new(Level::Note, "cgroups", "no cgroup v2 here")
            .note("children are ended by process group instead; a child that leaves its group can escape"),
    }
}

fn disk(path: &Path, free: u64) -> Finding {
    let seen = format!("{} free for {}", amount::bytes(free), path.display());
    match free {
        0..DISK_PROBLEM => Finding::new(Level::Problem, "disk", format!("only {seen}"))
            .fix("make room: PostgreSQL stops when the disk is full"),
        DISK_PROBLEM..DISK_WARNING => Finding::new(Level::Warning, "disk", format!("only {seen}"))
            .fix("make room before the database needs it"),
        _ => Finding::new(Level::Good, "disk", seen),
    }
}

fn clock(facts: &Facts) -> Finding {
    const TOLERANCE_MS: u64 = 60_000;
    let behind_files = facts
        .newest_file_ms
        .is_some_and(|file| file > facts.now_ms + TOLERANCE_MS);
    let fix = "sudo timedatectl set-ntp true";
    if facts.now_ms < CLOCK_AT_LEAST_MS {
        return Finding::new(
            Level::Problem,
            "clock",
            "the clock stands years in the past; tokens and TLS will fail",
        )
        .fix(fix);
    }
    if behind_files {
        return Finding::new(
            Level::Warning,
            "clock",
            "banyan.toml was changed in the future: the clock went back",
        )
        .fix(fix);
    }
    Finding::new(Level::Good, "clock", "plausible")
}

#[cfg(test)]
mod tests {
    use banyan_supervisor::RunAs;
    use banyan_supervisor::engine::identity::Identity;
    use expect_test::expect;

    use super::*;
    use crate::machine::Holder;
    use crate::render::findings;
    use crate::render::paint::Paint;

    fn healthy() -> Facts {
        Facts {
            system: System {
                name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
                apt: true,
                distribution_postgres: Some(15),
                root: false,
            },
            config: ConfigFact::Good("banyan.toml".to_owned()),
            installed_postgres: vec![15],
            backups: None,
            wanted_postgres: Some(WantedPostgres {
                configured: Some(15),
                of_data: None,
            }),
            ports: vec![PortFact {
                port: 8080,
                purpose: "edge",
                key: "edge.port",
                holder: None,
                ours: false,
            }],
            programs: vec![ProgramFact {
                process: "web".to_owned(),
                program: "node".to_owned(),
                found: Some("/usr/bin/node".into()),
            }],
            pgproxy: None,
            redis: Vec::new(),
            identity: Some(Identity {
                run_as: RunAs::Same,
                warning: None,
            }),
            open_files: (Some(1024), Some(1_048_576)),
            cgroup: CgroupUse::Usable,
            disk: Some(("/srv/photos/.banyan".into(), 80 << 30)),
            memory: Some(16 << 30),
            now_ms: CLOCK_AT_LEAST_MS + 1,
            newest_file_ms: Some(CLOCK_AT_LEAST_MS),
        }
    }

    fn text(facts: &Facts) -> String {
        findings::render(&judge(facts), Paint::OFF)
    }

    #[test]
    fn a_machine_that_lacks_nothing_has_no_findings() {
        assert!(!judge(&healthy()).iter().any(|finding| finding.level.is_finding()));
        expect![[r#"
            ✓ system            Debian GNU/Linux 12 (bookworm), 16.0 GiB memory
            ✓ configuration     banyan.toml
            ✓ PostgreSQL        15 is installed
            ✓ command of web    /usr/bin/node
            ✓ user of the app   runs as you
            ✓ port 8080 (edge)  free
            ✓ open files        1024 per process, 1048576 at most
            ✓ cgroups           each child gets a group of its own
            ✓ disk              80.0 GiB free for /srv/photos/.banyan
            ✓ clock             plausible
        "#]]
        .assert_eq(&text(&healthy()));
    }

    #[test]
    fn each_lack_is_named_with_the_command_that_settles_it() {
        let facts = Facts {
            installed_postgres: vec![],
            ports: vec![
                PortFact {
                    port: 8080,
                    purpose: "edge",
                    key: "edge.port",
                    holder: Some(Holder {
                        pid: Some(812),
                        program: Some("nginx".to_owned()),
                        argv: vec![],
                    }),
                    ours: false,
                },
                PortFact {
                    port: 5432,
                    purpose: "database",
                    key: "database.port",
                    holder: Some(Holder {
                        pid: None,
                        program: None,
                        argv: vec![],
                    }),
                    ours: false,
                },
            ],
            programs: vec![
                ProgramFact {
                    process: "web".to_owned(),
                    program: "node".to_owned(),
                    found: None,
                },
                ProgramFact {
                    process: "worker".to_owned(),
                    program: "./bin/work".to_owned(),
                    found: None,
                },
            ],
            open_files: (Some(1024), Some(4096)),
            cgroup: CgroupUse::NotPermitted,
            disk: Some(("/srv/photos/.banyan".into(), 100 << 20)),
            now_ms: 1_000,
            ..healthy()
        };
        expect![[r#"
            ✓ system                Debian GNU/Linux 12 (bookworm), 16.0 GiB memory
            ✓ configuration         banyan.toml
            ✗ PostgreSQL            15 is not installed
                                    → sudo apt-get install -y postgresql-15
                                    Debian's package starts a cluster of its own on port 5432. Banyan leaves that one alone:
                                    its own PostgreSQL has another folder and another port. To stop Debian's:
                                    sudo systemctl disable --now postgresql
            ✗ command of web        node is not in PATH
                                    → install node, or write its path in banyan.toml
            ✗ command of worker     there is no program ./bin/work
                                    → build the app, or correct the command in banyan.toml
            ✓ user of the app       runs as you
            ✗ port 8080 (edge)      in use by nginx (pid 812)
                                    → kill 812, or set edge.port to another port
            ✗ port 5432 (database)  in use by a program of another user
                                    → set database.port to another port
                                    sudo ss -ltnp 'sport = :5432' shows which program it is
            ! open files            1024 per process, 4096 at most: the edge can serve about 2048 clients
                                    → echo '* - nofile 1048576' | sudo tee /etc/security/limits.d/banyan.conf; then log in again
            · cgroups               not permitted for this user
                                    children are ended by process group instead; a child that leaves its group can escape
            ✗ disk                  only 100 MiB free for /srv/photos/.banyan
                                    → make room: PostgreSQL stops when the disk is full
            ✗ clock                 the clock stands years in the past; tokens and TLS will fail
                                    → sudo timedatectl set-ntp true
        "#]].assert_eq(&text(&facts));
    }

    #[test]
    fn the_command_that_installs_postgresql_fits_version_and_user() {
        let debian = healthy().system;
        let root = System {
            root: true,
            ..debian.clone()
        };
        assert_eq!(install(None, &debian), "sudo apt-get install -y postgresql-15");
        assert_eq!(install(Some(15), &root), "apt-get install -y postgresql-15");
        assert!(install(Some(17), &root).contains("apt.postgresql.org.sh"));
    }

    #[test]
    fn data_of_another_major_version_is_a_problem_that_says_which_to_keep() {
        let wanted = WantedPostgres {
            configured: Some(16),
            of_data: Some(15),
        };
        let finding = postgres(wanted, &healthy());
        assert_eq!(finding.level, Level::Problem);
        assert!(finding.fix.unwrap().contains("postgres = 15"));
    }
}
