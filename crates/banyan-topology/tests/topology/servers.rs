//! Plans of PostgreSQL's servers and the proxy before them.

use std::collections::BTreeSet;

use banyan_config::{Database, Durability, ExternalDatabase, PgproxyTable, ServerTrust, Template};
use banyan_topology::check::Rule;
use banyan_topology::{Change, External, Pgproxy, Plan, Step, check, plan};
use expect_test::{Expect, expect};

use crate::installation::Installation;
use crate::notation::{node, pgproxy, topology};

fn plans(from: &str, to: &str, expected: Expect) {
    let (from, to) = (topology(from), topology(to));
    let plan = plan::between(&from, &to);
    assert_eq!(check::plan(&from, &plan, &to), Ok(()));
    expected.assert_eq(&plan.to_string());
}

/// The rules that these steps break.
fn breaks(from: &str, steps: impl IntoIterator<Item = Step>, to: &str) -> Vec<Rule> {
    let (from, to) = (topology(from), topology(to));
    let plan: Plan = steps.into_iter().collect();
    let found = check::plan(&from, &plan, &to).unwrap_err();
    found.iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_start_makes_the_primary_first_and_is_synchronous_last() {
    plans(
        "",
        "r1 edge web.1@r1* db=1+2,3! pgproxy",
        expect![[r#"
         1   start postgres 15 on port 25432
         2   start pgproxy on 127.0.0.1:26432
         3   add replica db2 on port 25433
         4   add replica db3 on port 25434
         5   change postgres: durability async → sync
         6   make r1 the current release
         7   add process web
         8   start web.1@r1 on port 20101
         9   start edge on 127.0.0.1:8080
        10   admit web.1@r1"#]],
    );
}

#[test]
fn a_stop_ends_the_proxy_before_its_servers() {
    plans(
        "r1 edge web.1@r1* db=2+1! pgproxy",
        "",
        expect![[r#"
        1   drain and stop edge on 127.0.0.1:8080
        2   drain web.1@r1
        3   stop web.1@r1
        4   remove process web
        5   have no current release
        6   drain and stop pgproxy on 127.0.0.1:26432
        7   change postgres: durability sync → async
        8   remove replica db1 (its data stays)
        9   stop postgres 15 (db2) (its data stays)"#]],
    );
}

#[test]
fn replicas_come_and_go_beside_what_runs() {
    plans(
        "r1 edge web.1@r1* db pgproxy",
        "r1 edge web.1@r1* db=1+2 pgproxy",
        expect!["1   add replica db2 on port 25433"],
    );
    plans(
        "r1 edge web.1@r1* db=1+2,3! pgproxy",
        "r1 edge web.1@r1* db pgproxy",
        expect![[r#"
            1   change postgres: durability sync → async
            2   remove replica db3 (its data stays)
            3   remove replica db2 (its data stays)"#]],
    );
}

#[test]
fn a_server_is_replaced_by_a_replica_that_takes_over() {
    plans(
        "r1 edge web.1@r1* db pgproxy",
        "r1 edge web.1@r1* db=2 pgproxy",
        expect![[r#"
            1   add replica db2 on port 25433
            2   switch over from db1 to db2 while statements wait
            3   remove replica db1 (its data stays)"#]],
    );
}

#[test]
fn settings_restart_servers_only_if_they_must() {
    plans(
        "r1 edge web.1@r1* db=1+2 pgproxy",
        "r1 edge web.1@r1* db=1+2~ pgproxy~",
        expect![[r#"
            1   change postgres: work_mem unset → 16MB
            2   change pgproxy: pool.size 20 → 30"#]],
    );
    plans(
        "r1 edge web.1@r1* db=1+2 pgproxy",
        "r1 edge web.1@r1* db=1+2^ pgproxy",
        expect!["1   restart postgres while statements wait: max_connections 100 → 200"],
    );
}

#[test]
fn a_proxy_accepts_where_it_was_until_every_instance_of_then_is_gone() {
    plans(
        "r1 edge web.1@r1* db pgproxy",
        "r2 edge web.1@r2* db pgproxy:26433",
        expect![[r#"
            1   change pgproxy: listen on 127.0.0.1:26433
            2   make r2 the current release (was r1)
            3   start web.1@r2 on port 20201
            4   admit web.1@r2
            5   drain web.1@r1
            6   stop web.1@r1
            7   change pgproxy: no longer listen on 127.0.0.1:26432"#]],
    );
    // The old one is not given up while an instance is there that was told of it.
    let both = pgproxy(false).beside(([127, 0, 0, 1], 26433).into());
    let too_early = Pgproxy {
        before: BTreeSet::new(),
        ..both.clone()
    };
    let steps = [(pgproxy(false), both.clone()), (both, too_early)];
    let steps = steps.map(|(from, to)| Step::ConfigurePgproxy { from, to });
    let found = breaks("r1 web.1@r1 db pgproxy", steps, "r2 web.1@r2 db pgproxy:26433");
    assert!(found.contains(&Rule::Proxy), "{found:?}");
}

#[test]
fn an_installation_of_before_gets_the_proxy_with_its_next_release() {
    plans(
        "r1 edge web.1@r1* db",
        "r2 edge web.1@r2* db pgproxy",
        expect![[r#"
            1   start pgproxy on 127.0.0.1:26432
            2   make r2 the current release (was r1)
            3   start web.1@r2 on port 20201
            4   admit web.1@r2
            5   drain web.1@r1
            6   stop web.1@r1"#]],
    );
}

#[test]
fn what_writes_would_wait_for_is_not_taken_away() {
    let from = "r1 db=1+2! pgproxy";
    let found = breaks(from, [Step::RemoveReplica(node(2))], "r1 db! pgproxy");
    assert_eq!(found, [Rule::Servers]);
}

#[test]
fn a_primary_does_not_change_under_those_who_connect_to_it() {
    let switch = Step::Switchover {
        from: node(1).id,
        to: node(2).id,
    };
    let found = breaks("r1 web.1@r1 db=1+2", [switch], "r1 web.1@r1 db=2+1");
    assert_eq!(found, [Rule::Servers]);
}

#[test]
fn a_proxy_is_not_left_without_a_database_nor_instances_without_a_proxy() {
    let from = topology("r1 web.1@r1 db pgproxy");
    let stop = Step::StopDatabase(from.database.clone().unwrap());
    let found = breaks("db pgproxy", [stop], "pgproxy");
    assert!(found.contains(&Rule::Proxy), "{found:?}");
    let stop = Step::StopPgproxy(from.pgproxy.clone().unwrap());
    let found = breaks("r1 web.1@r1 db pgproxy", [stop.clone()], "r1 db");
    assert!(found.contains(&Rule::Proxy), "{found:?}");
    let found = breaks("r1 web.1@r1 db pgproxy", [stop], "r1 web.1@r1 db pgproxy");
    assert!(found.contains(&Rule::Proxy), "{found:?}");
}

#[test]
fn two_servers_never_have_one_port() {
    let mut second = node(2);
    second.port = node(1).port;
    let found = breaks("r1 db pgproxy", [Step::AddReplica(second)], "r1 db=1+2 pgproxy");
    assert!(found.contains(&Rule::Ports), "{found:?}");
}

/// A running installation behind the proxy.
fn proxied() -> Installation {
    let mut it = Installation::new();
    it.configure();
    it
}

fn servers(it: &Installation) -> String {
    let database = it.current.database.as_ref().unwrap();
    let nodes: Vec<String> = database
        .nodes
        .values()
        .map(|node| format!("{}:{}", node.id, node.port))
        .collect();
    format!("{} of {}", database.primary, nodes.join(" "))
}

#[test]
fn servers_keep_their_names_and_ports() {
    let mut it = proxied();
    assert_eq!(servers(&it), "db1 of db1:20000");
    it.database().replicas = 2;
    it.configure();
    let with_two = servers(&it);
    it.database().replicas = 1;
    it.configure();
    it.database().replicas = 2;
    it.configure();
    assert_eq!(servers(&it), with_two);
    it.down();
    it.configure();
    assert_eq!(servers(&it), with_two);
}

#[test]
fn another_port_is_another_server_that_takes_over() {
    let mut it = proxied();
    it.database().port = Some(25432);
    let (plan, notes) = it.configure();
    expect![[r#"
        1   add replica db2 on port 25432
        2   switch over from db1 to db2 while statements wait
        3   remove replica db1 (its data stays)
        statements wait while the primary changes; transactions that are still open after 5s (database.pgproxy.grace) make the step fail, and nothing changes
        sessions on DATABASE_DIRECT_URL end with the old primary"#]].assert_eq(&format!("{plan}\n{}", notes.join("\n")));
    assert_eq!(servers(&it), "db2 of db2:25432");
    // It comes back as what it was.
    it.down();
    it.configure();
    assert_eq!(servers(&it), "db2 of db2:25432");
}

#[test]
fn another_port_of_the_proxy_replaces_instances_and_is_beside_the_old_one_for_those_that_stay() {
    let mut it = proxied();
    let addresses = |it: &Installation| -> Vec<u16> {
        let proxy = it.current.pgproxy.as_ref().unwrap();
        proxy.addresses().map(|address| address.port()).collect()
    };
    it.database().pgproxy.port = Some(26000);
    let (plan, _) = it.configure();
    expect![[r#"
        1   change pgproxy: listen on 127.0.0.1:26000
        2 ! run the release command of r2 (not undone by rollback)
        3   make r2 the current release (was r1)
        4   start web.1@r2 on port 20003
        5   admit web.1@r2
        6   drain web.1@r1
        7   stop web.1@r1
        8   change pgproxy: no longer listen on 127.0.0.1:20001"#]]
    .assert_eq(&plan.to_string());
    assert_eq!(addresses(&it), [26000]);
    assert!(it.configure().0.is_empty());
    it.apply(Change::Rollback { to: None });
    it.database().pgproxy.port = Some(26001);
    expect!["1   change pgproxy: listen on 127.0.0.1:26001"].assert_eq(&it.configure().0.to_string());
    assert_eq!(addresses(&it), [26001, 26000]);
    assert!(it.configure().0.is_empty());
    it.apply(Change::Deploy);
    assert_eq!(addresses(&it), [26001]);
}

#[test]
fn another_folder_is_another_server_and_the_way_back_is_the_first_one() {
    let mut it = proxied();
    it.database().dir = Some("/mnt/fast".into());
    let (plan, notes) = it.configure();
    expect![[r#"
        1   add replica db2 on port 20003 in /mnt/fast
        2   switch over from db1 to db2 while statements wait
        3   remove replica db1 (its data stays)
        statements wait while the primary changes; transactions that are still open after 5s (database.pgproxy.grace) make the step fail, and nothing changes
        sessions on DATABASE_DIRECT_URL end with the old primary"#]].assert_eq(&format!("{plan}\n{}", notes.join("\n")));
    // A replica has its data there, too, and a number that has none elsewhere.
    it.database().replicas = 1;
    expect!["1   add replica db3 on port 20000 in /mnt/fast"].assert_eq(&it.configure().0.to_string());
    it.database().dir = None;
    expect![[r#"
        1   add replica db1 on port 20004
        2   add replica db4 on port 20005
        3   switch over from db2 to db1 while statements wait
        4   remove replica db3 (its data stays)
        5   remove replica db2 (its data stays)"#]]
    .assert_eq(&it.configure().0.to_string());
}

#[test]
fn data_stays_where_it_is_over_a_stop_and_is_missed_when_it_is_away() {
    let mut it = proxied();
    it.database().dir = Some("/mnt/fast".into());
    it.configure();
    it.down();
    it.database().dir = None;
    let (plan, notes) = it.configure();
    assert!(!plan.to_string().contains("add replica"), "{plan}");
    assert!(notes[0].contains("starts where its data is"), "{notes:?}");
    assert_eq!(
        it.current.database.as_ref().unwrap().dir(),
        Some(std::path::Path::new("/mnt/fast"))
    );
    assert!(it.configure().0.to_string().contains("add replica db1"));
    it.database().dir = Some("/mnt/fast".into());
    it.configure();
    it.down();
    it.facts.data_version = None;
    let refused = it.resolve(&Change::Configuration).unwrap_err().to_string();
    assert!(
        refused.contains("is to be in /mnt/fast, and there is none"),
        "{refused}"
    );
}

#[test]
fn a_start_is_refused_if_the_data_could_not_move_to_its_folder_afterwards() {
    let mut it = proxied();
    let refused = |it: &Installation| it.resolve(&Change::Configuration).unwrap_err().to_string();
    it.down();
    it.database().dir = Some("/mnt/fast".into());
    it.database().pgproxy.direct = true;
    expect!["the data of PostgreSQL is in the state folder, and it moves to database.dir only while it is used, behind the proxy: take database.dir out to start where it is, or write direct = false in [database.pgproxy]"]
        .assert_eq(&refused(&it));
    it.database().pgproxy.direct = false;
    it.database().port = Some(20000);
    expect!["the data of PostgreSQL is in the state folder, and it moves to database.dir only while it is used, behind the proxy: take database.dir out to start where it is, or take database.port out until it has moved, because both servers run for a while"]
        .assert_eq(&refused(&it));
    it.database().port = None;
    it.configure();
    it.configure();
    it.down();
    it.database().dir = None;
    it.database().pgproxy.direct = true;
    expect![[r#"the data of PostgreSQL is in /mnt/fast, and it moves to database.dir only while it is used, behind the proxy: write database.dir = "/mnt/fast" to start where it is, or write direct = false in [database.pgproxy]"#]]
        .assert_eq(&refused(&it));
    it.database().dir = Some("/mnt/fast".into());
    it.configure();
    assert!(it.configure().0.is_empty());
}

#[test]
fn a_release_past_the_proxy_is_not_started_with_data_that_is_to_move() {
    let mut it = Installation::new();
    it.database().pgproxy.direct = true;
    it.configure();
    it.database().pgproxy.direct = false;
    it.configure();
    it.apply(Change::Rollback { to: None });
    it.down();
    it.database().dir = Some("/mnt/fast".into());
    let refused = it.resolve(&Change::Configuration).unwrap_err().to_string();
    assert!(
        refused.ends_with("or run `banyan deploy` for a release that goes through the proxy"),
        "{refused}"
    );
    it.apply(Change::Deploy);
    assert!(it.configure().0.to_string().contains("in /mnt/fast"));
}

#[test]
fn a_folder_needs_another_port_than_the_present_servers_and_a_place_that_can_take_it() {
    let mut it = proxied();
    it.database().port = Some(20000);
    it.database().dir = Some("/mnt/fast".into());
    let refused = |it: &Installation| it.resolve(&Change::Configuration).unwrap_err().to_string();
    assert!(
        refused(&it).contains("port 20000 is the present one's"),
        "{}",
        refused(&it)
    );
    it.database().port = None;
    it.facts.dir_problem = Some("/mnt/fast is no folder".to_owned());
    assert!(
        refused(&it).contains("database.dir: /mnt/fast is no folder"),
        "{}",
        refused(&it)
    );
}

/// The user's own PostgreSQL behind the proxy.
fn external(it: &mut Installation, host: &str) {
    it.config.database = Some(Database::External(ExternalDatabase {
        url: Template::literal("postgres://shop:secret@db/shop"),
        pgproxy: PgproxyTable::default(),
    }));
    it.facts.external = Some(External {
        host: host.to_owned(),
        port: 5432,
        name: "shop".to_owned(),
        user: "shop".to_owned(),
        tls: ServerTrust::default(),
        options: None,
        login: "0123abcd".to_owned(),
    });
}

#[test]
fn a_database_of_ones_own_is_led_to_and_never_started_nor_stopped() {
    let mut it = Installation::new();
    external(&mut it, "db");
    let (plan, _) = it.configure();
    expect![[r#"
        1   start pgproxy on 127.0.0.1:20000, leading to shop on db:5432
        2 ! run the release command of r1 (not undone by rollback)
        3   make r1 the current release
        4   add process web
        5   start web.1@r1 on port 20001
        6   start edge on 127.0.0.1:8080
        7   admit web.1@r1"#]]
    .assert_eq(&plan.to_string());
    external(&mut it, "db2");
    let (plan, notes) = it.configure();
    expect![[r#"
        1   change pgproxy: external.host db → db2
        the app goes from shop on db:5432 to shop on db2:5432 while it runs: what was written to the first must be in the second"#]].assert_eq(&format!("{plan}\n{}", notes.join("\n")));
    let stop = banyan_topology::plan::between(&it.current, &it.current.stopped());
    assert!(!stop.to_string().contains("postgres 15"), "{stop}");
}

#[test]
fn no_data_is_copied_between_ones_own_and_banyans_so_neither_way_is_gone_while_the_app_runs() {
    let mut it = proxied();
    let refused = |it: &Installation| it.resolve(&Change::Configuration).unwrap_err().to_string();
    external(&mut it, "db");
    assert!(
        refused(&it).contains("run `banyan down`, copy the data"),
        "{}",
        refused(&it)
    );
    it.down();
    let (_, notes) = it.configure();
    assert!(notes.join(" ").contains("stays where it is, unused"), "{notes:?}");
    it.config.database = proxied().config.database;
    assert!(refused(&it).contains("or put `url` back"), "{}", refused(&it));
    it.down();
    it.configure();
}

#[test]
fn a_proxy_of_another_program_is_replaced_before_anything_else_of_it_changes() {
    let mut it = Installation::new();
    it.facts.edge_program = Some("aaaaaaaaaaaaaaaaffff".to_owned());
    it.configure();
    it.facts.edge_program = Some("bbbbbbbbbbbbbbbbffff".to_owned());
    it.database().pgproxy.pool.size = 30;
    let (plan, _) = it.configure();
    expect![[r#"
        1   replace the pgproxy process without a break: program aaaaaaaa → bbbbbbbb
        2   change pgproxy: pool.size 20 → 30
        3   replace the edge process without a break: program aaaaaaaa → bbbbbbbb"#]]
    .assert_eq(&plan.to_string());
    assert!(it.configure().0.is_empty());
    // What cannot be read is no other program.
    it.facts.edge_program = None;
    assert!(it.configure().0.is_empty());
}

#[test]
fn a_change_that_restarts_is_gentle_behind_the_proxy() {
    let mut it = proxied();
    it.database().max_connections = 200;
    let (plan, notes) = it.configure();
    expect![[r#"
        1   restart postgres while statements wait: max_connections 100 → 200
        statements wait while PostgreSQL restarts; transactions that are still open after 5s (database.pgproxy.grace) make the step fail, and nothing changes"#]].assert_eq(&format!("{plan}\n{}", notes.join("\n")));
}

#[test]
fn the_proxy_comes_with_a_release_that_goes_through_it() {
    let mut it = Installation::new();
    it.database().pgproxy.direct = true;
    it.configure();
    it.database().pgproxy.direct = false;
    it.database().replicas = 1;
    it.database().durability = Durability::Sync;
    let (plan, notes) = it.configure();
    expect![[r#"
        1   start pgproxy on 127.0.0.1:20003
        2   add replica db2 on port 20002
        3   change postgres: durability async → sync
        4 ! run the release command of r2 (not undone by rollback)
        5   make r2 the current release (was r1)
        6   start web.1@r2 on port 20004
        7   admit web.1@r2
        8   drain web.1@r1
        9   stop web.1@r1
    "#]]
    .assert_eq(&format!("{plan}\n{}", notes.join("\n")));
    // A release of before runs past the proxy, which stays.
    it.apply(Change::Rollback { to: None });
    assert!(it.current.pgproxy.is_some());
    it.database().max_connections = 200;
    assert!(it.resolve(&Change::Configuration).is_err());
}

#[test]
fn after_a_failover_nothing_is_to_be_done_although_the_port_is_another_servers() {
    let mut it = proxied();
    it.database().port = Some(20000);
    it.database().replicas = 1;
    it.configure();
    let database = it.current.database.as_mut().unwrap();
    database.primary = node(2).id;
    it.facts.remembered.primary = Some(node(2).id);
    let failed_over = servers(&it);
    let (plan, _) = it.configure();
    assert!(plan.is_empty(), "{plan}");
    it.down();
    it.configure();
    assert_eq!(servers(&it), failed_over);
    // Alone it goes where it is wanted.
    it.database().replicas = 0;
    it.configure();
    assert!(servers(&it).ends_with(":20000"), "{}", servers(&it));
}

#[test]
fn another_primary_is_asked_for_by_name_or_not_and_nothing_else_changes() {
    let mut it = proxied();
    let refused = |it: &Installation, to: Option<u32>| {
        let to = to.map(|number| node(number).id);
        it.resolve(&Change::Switchover { to }).unwrap_err().to_string()
    };
    expect![
        "there is no replica that could take over; write replicas = 1 in [database] and `banyan apply` first"
    ]
    .assert_eq(&refused(&it, None));
    it.database().replicas = 2;
    it.configure();
    expect!["db1 is the primary already; nothing to switch over"].assert_eq(&refused(&it, Some(1)));
    expect!["db4 is no replica (replicas: db2, db3); choose one of those"].assert_eq(&refused(&it, Some(4)));
    // What the configuration says by now waits for an apply.
    it.database().max_connections = 200;
    let (plan, notes) = it.apply(Change::Switchover { to: None });
    expect![[r#"
        1   switch over from db1 to db2 while statements wait
        statements wait while the primary changes; transactions that are still open after 5s (database.pgproxy.grace) make the step fail, and nothing changes
        sessions on DATABASE_DIRECT_URL end with the old primary"#]]
    .assert_eq(&format!("{plan}\n{}", notes.join("\n")));
    it.database().max_connections = 100;
    assert!(it.configure().0.is_empty());
}
