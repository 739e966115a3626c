//! What a configuration becomes: releases, slots, ports, and the refusals with their next step.

use std::collections::BTreeSet;

use crate::installation::Installation;
use banyan_config::{Database, ExternalDatabase, PgproxyTable, Template};
use banyan_topology::{Change, ReleaseId, Topology, rung};
use expect_test::{Expect, expect};

const ROLLBACK: Change = Change::Rollback { to: None };

fn refuses(installation: &Installation, change: &Change, expected: Expect) {
    let errors = installation.resolve(change).unwrap_err();
    expected.assert_eq(&errors.to_string());
}

fn ports(topology: &Topology) -> String {
    let line = |instance: &banyan_topology::Instance| format!("{} {}", instance.id, instance.port);
    topology
        .instances
        .values()
        .map(line)
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn defaults_are_chosen_from_the_machine() {
    let mut it = Installation::new();
    it.configure();
    let database = it.current.database.as_ref().unwrap();
    expect![[r#"
        Database { version: 15, nodes: {NodeId(1): Node { id: NodeId(1), port: 20000, dir: None }}, primary: NodeId(1), durability: Async, memory_bytes: 2147483648, max_connections: 100, name: "my_photos", user: "my_photos", backup: None, settings: {} }
        web.1@r1 20002
        edge 127.0.0.1:8080 → web ×1 → pgproxy → postgres 15"#]].assert_eq(&format!(
        "{database:?}\n{}\n{}",
        ports(&it.current),
        rung::map(&it.current)
    ));
}

#[test]
fn an_unchanged_configuration_changes_nothing() {
    let mut it = Installation::new();
    it.process("worker").count = 2;
    it.configure();
    let (plan, notes) = it.configure();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(notes, Vec::<String>::new());
}

#[test]
fn more_instances_keep_the_release_and_the_ports() {
    let mut it = Installation::new();
    it.configure();
    it.process("web").count = 3;
    let (plan, _) = it.configure();
    expect![[r#"
        1   start web.2@r1 on port 20003
        2   start web.3@r1 on port 20004
        3   admit web.2@r1
        4   admit web.3@r1"#]]
    .assert_eq(&plan.to_string());
}

#[test]
fn what_comes_back_after_a_down_has_the_release_and_the_ports_it_had() {
    let mut it = Installation::new();
    it.process("web").count = 2;
    it.configure();
    it.process("web").count = 3;
    it.configure();
    let before = it.current.clone();
    it.down();
    let (plan, _) = it.configure();
    assert_eq!(it.current, before);
    assert!(!plan.to_string().contains("release command"), "{plan}");
}

#[test]
fn a_changed_command_environment_program_or_secret_is_a_new_release() {
    let mut it = Installation::new();
    it.configure();
    let mut releases = vec![it.current.release];
    it.edit_app("2");
    it.configure();
    releases.push(it.current.release);
    it.process("web").argv.push(Template::literal("--fast"));
    it.configure();
    releases.push(it.current.release);
    it.facts.programs.insert("photos".to_owned(), "00ff".to_owned());
    it.configure();
    releases.push(it.current.release);
    it.facts.secrets_digest = "ff00".to_owned();
    it.configure();
    releases.push(it.current.release);
    assert_eq!(releases, [1, 2, 3, 4, 5].map(|n| Some(ReleaseId(n))));
}

#[test]
fn another_database_url_is_a_new_release() {
    let mut it = Installation::new();
    let url = |text: &str| {
        Some(Database::External(ExternalDatabase {
            url: Template::literal(text),
            pgproxy: PgproxyTable {
                direct: true,
                ..PgproxyTable::default()
            },
        }))
    };
    it.config.database = url("postgres://db1/photos");
    it.configure();
    it.config.database = url("postgres://db2/photos");
    let (plan, _) = it.configure();
    assert_eq!(it.current.release, Some(ReleaseId(2)));
    assert!(it.current.database.is_none());
    assert!(plan.to_string().contains("drain web.1@r1"), "{plan}");
}

#[test]
fn another_database_url_under_another_name_is_a_new_release_too() {
    let mut it = Installation::new();
    let url = |text: &str| {
        Some(Database::External(ExternalDatabase {
            url: Template::literal(text),
            pgproxy: PgproxyTable {
                direct: true,
                ..PgproxyTable::default()
            },
        }))
    };
    it.config.database = url("postgres://db1/photos");
    it.config.app.env.insert(
        "DATABASE_URL".to_owned(),
        Template::literal("{{database.url}}?sslmode=require"),
    );
    it.configure();
    it.config.database = url("postgres://db2/photos");
    it.configure();
    assert_eq!(it.current.release, Some(ReleaseId(2)));
}

#[test]
fn a_deploy_is_a_new_release_even_of_the_same_content() {
    let mut it = Installation::new();
    it.configure();
    it.apply(Change::Deploy);
    assert_eq!(it.current.release, Some(ReleaseId(2)));
}

#[test]
fn a_rollback_holds_until_the_next_deploy() {
    let mut it = Installation::new();
    it.configure();
    it.edit_app("2");
    it.apply(Change::Deploy);
    let (_, rolled_back) = it.apply(ROLLBACK);
    assert_eq!(it.current.release, Some(ReleaseId(1)));
    it.process("web").count = 2;
    let (_, scaled) = it.configure();
    assert_eq!(it.current.release, Some(ReleaseId(1)));
    expect![[r#"
        r1 is kept until the next deploy; `banyan deploy` goes forward again; what its release command did to the data stays
        r1 is kept since a rollback or a failed deploy: commands, environment and programs of the configuration wait for `banyan deploy`"#]].assert_eq(&[rolled_back, scaled].concat().join("\n"));
    it.apply(Change::Deploy);
    assert_eq!((it.current.release, it.facts.pinned), (Some(ReleaseId(3)), None));
}

#[test]
fn a_rollback_passes_over_a_release_whose_deploy_failed() {
    let mut it = Installation::new();
    it.configure();
    it.apply(Change::Deploy);
    it.facts.served.remove(&ReleaseId(2));
    it.apply(Change::Deploy);
    it.apply(ROLLBACK);
    assert_eq!(it.current.release, Some(ReleaseId(1)));
}

#[test]
fn a_failed_deploy_is_tried_again_as_the_same_release() {
    let mut it = Installation::new();
    it.configure();
    it.edit_app("2");
    let failed = it.resolve(&Change::Configuration).unwrap();
    assert!(failed.is_new);
    it.facts.releases.insert(failed.release.id, failed.release);
    it.facts.next_release = ReleaseId(3);
    let again = it.resolve(&Change::Configuration).unwrap();
    assert_eq!((again.release.id, again.is_new), (ReleaseId(2), false));
}

#[test]
fn content_of_an_older_release_is_a_new_one_so_that_rollback_returns_from_it() {
    let mut it = Installation::new();
    it.edit_app("1");
    it.configure();
    it.edit_app("2");
    it.configure();
    it.edit_app("1");
    it.configure();
    assert_eq!(it.current.release, Some(ReleaseId(3)));
    it.apply(ROLLBACK);
    assert_eq!(it.current.release, Some(ReleaseId(2)));
}

#[test]
fn a_process_that_a_pinned_release_lacks_waits_for_the_deploy() {
    let mut it = Installation::new();
    it.configure();
    it.process("worker");
    it.configure();
    let (_, notes) = it.apply(ROLLBACK);
    expect![[r#"
        r1 is kept until the next deploy; `banyan deploy` goes forward again; what its release command did to the data stays
        process worker is not in r1; `banyan deploy` starts it"#]].assert_eq(&notes.join("\n"));
    assert_eq!(ports(&it.current).matches("worker").count(), 0);
}

#[test]
fn impossible_rollbacks_say_why() {
    let mut it = Installation::new();
    refuses(
        &it,
        &ROLLBACK,
        expect!["nothing was deployed yet, so there is no release to go back to; run `banyan up` first"],
    );
    it.configure();
    refuses(
        &it,
        &ROLLBACK,
        expect!["there is no release before r1 to go back to; `banyan deploy` makes a new one"],
    );
    refuses(
        &it,
        &Change::Rollback {
            to: Some(ReleaseId(1)),
        },
        expect!["r1 is the current release already; nothing to roll back"],
    );
    refuses(
        &it,
        &Change::Rollback {
            to: Some(ReleaseId(9)),
        },
        expect!["r9 is not a kept release (kept: r1); choose one of those"],
    );
    it.facts.pinned = Some(ReleaseId(7));
    refuses(
        &it,
        &Change::Configuration,
        expect![
            "r7 is kept since a rollback or a failed deploy, but its content is gone; run `banyan deploy` to make a new release"
        ],
    );
}

#[test]
fn a_missing_postgresql_names_the_command_that_installs_it() {
    let mut it = Installation::new();
    it.facts.postgres_installed = BTreeSet::new();
    refuses(
        &it,
        &Change::Configuration,
        expect!["PostgreSQL 15 is not installed; run `sudo apt-get install -y postgresql-15`"],
    );
    it.facts.postgres_installed = BTreeSet::from([13, 15]);
    it.database().postgres = Some(16);
    refuses(
        &it,
        &Change::Configuration,
        expect![
            "PostgreSQL 16 is not installed (installed: 13, 15); run `sudo apt-get install -y postgresql-16`, or set database.postgres = 15"
        ],
    );
}

#[test]
fn data_of_another_major_version_is_not_touched() {
    let mut it = Installation::new();
    it.facts.data_version = Some(13);
    refuses(
        &it,
        &Change::Configuration,
        expect![
            "the data directory needs the version that made it: PostgreSQL 13 is not installed (installed: 15); run `sudo apt-get install -y postgresql-13`"
        ],
    );
    it.database().postgres = Some(15);
    refuses(
        &it,
        &Change::Configuration,
        expect![
            "database.postgres = 15, but the data directory is of PostgreSQL 13; set database.postgres = 13 (or leave it out): Banyan does not convert data between major versions yet"
        ],
    );
}

#[test]
fn data_decides_the_version_when_several_are_installed() {
    let mut it = Installation::new();
    it.facts.postgres_installed = BTreeSet::from([13, 15]);
    it.facts.data_version = Some(13);
    it.configure();
    assert_eq!(it.current.database.unwrap().version, 13);
}

#[test]
fn a_running_database_past_which_nobody_waits_keeps_its_settings() {
    let mut it = Installation::new();
    it.database().pgproxy.direct = true;
    it.configure();
    // Seen memory changes a little from boot to boot; that is no change of the user's.
    it.facts.memory_bytes -= 4096;
    assert!(it.configure().0.is_empty());
    let table = it.database();
    table.port = Some(5433);
    table.memory_bytes = Some(1 << 30);
    table.max_connections = 200;
    table.name = Some("other".to_owned());
    table.settings.insert("work_mem".to_owned(), "8MB".to_owned());
    refuses(
        &it,
        &Change::Configuration,
        expect![[r#"
            database.name cannot change while PostgreSQL runs (my_photos → other); run `banyan down`, then `banyan up` with the new configuration (the new database begins empty; the data of the old one stays in it)
            database.port cannot change while PostgreSQL runs (20000 → 5433); run `banyan down`, then `banyan up` with the new configuration
            database.memory cannot change while PostgreSQL runs (2GiB → 1GiB); run `banyan down`, then `banyan up` with the new configuration
            database.max_connections cannot change while PostgreSQL runs (100 → 200); run `banyan down`, then `banyan up` with the new configuration"#]],
    );
    it.down();
    it.configure();
    assert_eq!(it.current.database.unwrap().port(), 5433);
}

#[test]
fn a_database_port_that_was_taken_meanwhile_is_replaced() {
    let mut it = Installation::new();
    it.configure();
    let port = it.current.database.as_ref().unwrap().port();
    it.down();
    it.facts.free_ports.retain(|free| *free != port);
    let (_, notes) = it.configure();
    expect!["PostgreSQL moves to port 20003: its port 20000 is in use by another program"]
        .assert_eq(&notes.join("\n"));
}

#[test]
fn ports_that_clash_are_named() {
    let mut it = Installation::new();
    it.facts.taken_ports = BTreeSet::from([8080]);
    refuses(
        &it,
        &Change::Configuration,
        expect![
            "port 8080 (edge.port) is in use by another program; `ss -ltnp 'sport = :8080'` names it: stop it, or choose another port"
        ],
    );
    it.facts.taken_ports = BTreeSet::new();
    it.database().port = Some(8080);
    refuses(
        &it,
        &Change::Configuration,
        expect!["edge.port and database.port are both port 8080; choose another one for the edge"],
    );
    it.database().port = None;
    it.configure();
    // Its own port is taken, by itself.
    it.facts.taken_ports = BTreeSet::from([8080]);
    assert!(it.configure().0.is_empty());
    let web = it.current.instances.values().next().unwrap().port;
    it.config.edge.as_mut().unwrap().listen.set_port(web);
    refuses(
        &it,
        &Change::Configuration,
        expect!["port 20002 (edge.port) is the port of web.1@r1; choose another one"],
    );
}

#[test]
fn ports_run_out_with_a_number() {
    let mut it = Installation::new();
    it.process("web").count = 30;
    refuses(
        &it,
        &Change::Configuration,
        expect![
            "no free port is left for 12 of 30 new instances; lower `count`, or free ports in 20000-29999"
        ],
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    let mut it = Installation::new();
    it.process("web").count = 4;
    it.process("web").max = Some(2);
    it.facts.postgres_installed = BTreeSet::from([13]);
    it.facts.data_version = Some(15);
    it.config.edge.as_mut().unwrap().process = "site".parse().unwrap();
    refuses(
        &it,
        &Change::Configuration,
        expect![[r#"
        the data directory needs the version that made it: PostgreSQL 15 is not installed (installed: 13); run `sudo apt-get install -y postgresql-15`
        process.web.count = 4 is more than its max = 2; lower count or raise max
        the edge forwards to process `site`, which r1 does not have (it has web); set edge.process to one of them, or add the process"#]],
    );
}

#[test]
fn the_state_of_one_app_does_not_become_another() {
    let mut it = Installation::new();
    it.configure();
    it.config.name = "shop".parse().unwrap();
    refuses(
        &it,
        &Change::Configuration,
        expect![[r#"
        this state directory belongs to `my-photos`, but the configuration says name = "shop"; put the name back, or run `banyan down` before changing it
        database.name cannot change while PostgreSQL runs (my_photos → shop); run `banyan down`, then `banyan up` with the new configuration (the new database begins empty; the data of the old one stays in it)"#]],
    );
}

#[test]
fn costs_are_told_beforehand() {
    let mut it = Installation::new();
    it.process("web").count = 2;
    it.process("web").max = Some(2);
    it.process("clock").max = Some(1);
    it.configure();
    it.config.edge.as_mut().unwrap().settings.workers = Some(2);
    it.process("web").settings.ready = Some(banyan_config::ReadyProbe {
        path: "/readyz".to_owned(),
        host: None,
        status: 200,
        service: None,
        interval: std::time::Duration::from_secs(2),
        timeout: std::time::Duration::from_secs(1),
        rise: 1,
        fall: 2,
    });
    it.config.database = None;
    let (plan, notes) = it.apply(Change::Deploy);
    expect![[r#"
        PostgreSQL 15 is no longer configured: it stops, its data stays
        process.web.ready changes together with the release: instances of the old release must pass it too until they are drained
        clock has max = 1, so an old instance stops before a new one starts: one fewer runs meanwhile
        web has max = 2, so an old instance stops before a new one starts: one fewer runs meanwhile

         1 ! run the release command of r2 (not undone by rollback)
         2   make r2 the current release (was r1)
         3   change process web: ready.fall unset → 2, ready.interval unset → 2s, ready.path unset → /readyz, ready.rise unset → 1, ready.status unset → 200, ready.timeout unset → 1s
         4   replace the edge process without a break: workers unset → 2
         5   drain web.1@r1
         6   stop web.1@r1
         7   start web.1@r2 on port 20006
         8   admit web.1@r2
         9   drain web.2@r1
        10   stop web.2@r1
        11   start web.2@r2 on port 20007
        12   admit web.2@r2
        13   stop clock.1@r1
        14   start clock.1@r2 on port 20005
        15   drain and stop pgproxy on 127.0.0.1:20001
        16   stop postgres 15 (its data stays)"#]].assert_eq(&format!("{}\n\n{plan}", notes.join("\n")));
}

#[test]
fn another_protocol_is_a_new_release_whose_instances_alone_are_spoken_to_in_it() {
    use banyan_topology::snapshot;
    let mut it = Installation::new();
    it.configure();
    let before = it.current.clone();
    it.process("web").protocol = banyan_config::Protocol::H2;
    let (plan, _) = it.configure();
    assert!(plan.to_string().contains("start web.1@r2"), "{plan}");
    let spoken = |topology: &banyan_topology::Topology| {
        let told = snapshot::edge(
            topology,
            banyan_topology::Epoch(1),
            &std::collections::BTreeSet::new(),
        );
        told.unwrap().upstream.endpoints[0].protocol
    };
    assert_eq!(spoken(&before), banyan_config::Protocol::Http1);
    assert_eq!(spoken(&it.current), banyan_config::Protocol::H2);
}

fn scale(name: &str, count: u32) -> Change {
    Change::Scale {
        counts: [(name.parse().unwrap(), count)].into(),
    }
}

#[test]
fn the_load_changes_a_number_and_nothing_else() {
    let mut it = Installation::new();
    it.process("worker").count = 2;
    it.configure();
    // What was edited since and not applied stays unapplied.
    it.process("worker").count = 5;
    it.edit_app("edited");
    let (plan, notes) = it.apply(scale("web", 3));
    expect![[r#"
        1   start web.2@r1 on port 20005
        2   start web.3@r1 on port 20006
        3   admit web.2@r1
        4   admit web.3@r1"#]]
    .assert_eq(&plan.lines().join("\n"));
    assert_eq!(notes, Vec::<String>::new());
    let (plan, _) = it.apply(scale("web", 1));
    expect![[r#"
        1   drain web.3@r1
        2   stop web.3@r1
        3   drain web.2@r1
        4   stop web.2@r1"#]]
    .assert_eq(&plan.lines().join("\n"));
}

#[test]
fn what_the_load_asked_for_last_stays_within_the_bounds_of_now() {
    let mut it = Installation::new();
    it.process("web").settings.scale = Some(banyan_config::Scale {
        policy: banyan_config::ScalePolicy::Headroom,
        min: 2,
        max: 6,
        slo_wait: std::time::Duration::from_millis(100),
        cores: 1,
        schedule: Vec::new(),
        shadow: false,
        connections: None,
        speed: 1,
    });
    let running = |it: &Installation| it.current.running(&"web".parse().unwrap());
    it.process("web").count = 3;
    it.configure();
    assert_eq!(running(&it), 3, "what it begins with");
    for (remembered, expected) in [(5, 5), (9, 6), (1, 2)] {
        it.facts.remembered.counts = [("web".parse().unwrap(), remembered)].into();
        it.configure();
        assert_eq!(running(&it), expected);
    }
}
