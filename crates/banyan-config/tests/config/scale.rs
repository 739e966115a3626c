//! How many instances follow the load: policies, bounds, and what is no rule.

use expect_test::{Expect, expect};

use banyan_config::render_resolved;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n";
const QUEUE: &str = "[edge.queue]\nmax_connections = 8\n";

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn every_policy_is_read_and_written_out_as_the_same() {
    let policies = [
        "",
        "slo_wait = \"50ms\"\nschedule = [{ from = \"23:00\", to = \"01:30\", min = 5 }]\n",
        "policy = \"concurrency\"\nshadow = true\nspeed = 5\n",
        "policy = \"target\"\nconnections = 20\n",
        "policy = \"target\"\nmetric = \"requests\"\ntarget = 120\ncores = 2\n",
        "policy = \"target\"\nmetric = \"in_flight\"\ntarget = 4\n",
        "policy = \"spec\"\nup_cpu = 0.8\ndown_for = \"20m\"\ncooldown_up = \"60s\"\n",
    ];
    for policy in policies {
        let text = format!("{BASE}{QUEUE}[scale.web]\nmin = 2\nmax = 9\n{policy}");
        let config = load(&text).unwrap().config;
        let web = &config.processes.values().next().unwrap().settings;
        let scale = web.scale.as_ref().expect("the rule of web");
        assert_eq!((scale.min, scale.max), (2, 9));
        let resolved = render_resolved(&config, false);
        assert_eq!(load(&resolved).unwrap().config, config, "{resolved}");
    }
}

#[test]
fn without_a_limit_per_instance_headroom_knows_nothing() {
    check(
        "[scale.web]\nmax = 9\n",
        expect![[r#"
        error: how many requests an instance works on at once is not known
         --> banyan.toml:5:8
          |
        5 | [scale.web]
          |        ^^^
          = write max_connections in [edge.queue]; or policy = "target" here

        1 error; nothing was changed"#]],
    );
}

#[test]
fn bounds_that_leave_no_number_are_mistakes() {
    check(
        "count = 1\n[edge.queue]\nmax_connections = 8\n[scale.web]\nmin = 5\nmax = 3\n",
        expect![[r#"
            error: `max` is 3, but `min` is 5
              --> banyan.toml:10:7
               |
            10 | max = 3
               |       ^
               = write the larger one as max

            1 error; nothing was changed"#]],
    );
    check(
        "max = 1\n[edge.queue]\nmax_connections = 8\n[scale.web]\nmax = 3\nschedule = [{ from = \"07:00\", to = \"08:00\", min = 4 }]\n",
        expect![[r#"
            error: [process.web] never has more than 1, `max` here is 3
             --> banyan.toml:8:8
              |
            8 | [scale.web]
              |        ^^^
              = remove max in [process]

            error: a floor of 4 is more than `max`, 3
              --> banyan.toml:10:1
               |
            10 | schedule = [{ from = "07:00", to = "08:00", min = 4 }]
               | ^^^^^^^^
               = write a larger max

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn keys_of_another_policy_are_mistakes() {
    check(
        "[edge.queue]\nmax_connections = 8\n[scale.web]\nmax = 3\nup_cpu = 0.9\n",
        expect![[r#"
            error: `up_cpu` is of policy = "spec"; this one is "headroom"
             --> banyan.toml:9:1
              |
            9 | up_cpu = 0.9
              | ^^^^^^
              = write policy = "spec", or remove it

            1 error; nothing was changed"#]],
    );
    check(
        "[scale.web]\nmax = 3\npolicy = \"target\"\nmetric = \"requests\"\n",
        expect![[r#"
            error: `requests` is to be held, but not at which value
             --> banyan.toml:8:1
              |
            8 | metric = "requests"
              | ^^^^^^
              = write target = …

            1 error; nothing was changed"#]],
    );
    check(
        "[scale.web]\nmax = 3\npolicy = \"target\"\ntarget = 120\n",
        expect![[r#"
            error: an instance cannot use 120 % of its CPUs
             --> banyan.toml:8:10
              |
            8 | target = 120
              |          ^^^
              = write 1 to 100

            1 error; nothing was changed"#]],
    );
}

#[test]
fn instances_that_would_find_no_connection_to_the_database_are_refused() {
    let scaled = "[edge.queue]\nmax_connections = 8\n[scale.web]\nmax = 12\nconnections = 8\n";
    check(
        &format!("{scaled}[database]\n[database.pgproxy]\ndirect = true\n"),
        expect![[r#"
            error: as many instances as there may be open 96 connections, the database takes 100, 10 of them kept for others
             --> banyan.toml:9:15
              |
            9 | connections = 8
              |               ^
              = write a smaller max or connections, or max_connections = 106 in [database]

            1 error; nothing was changed"#]],
    );
    check(
        &format!("{scaled}[database]\n[database.pgproxy]\nmax_clients = 90\n"),
        expect![[r#"
            error: as many instances as there may be open 96 connections, the database takes 90
             --> banyan.toml:9:15
              |
            9 | connections = 8
              |               ^
              = write a smaller max or connections, or max_clients = 96 in [database.pgproxy]

            1 error; nothing was changed"#]],
    );
    let fits = told(&format!("{BASE}{scaled}[database]\n"));
    assert!(!fits.contains("connections"), "{fits}");
}

#[test]
fn a_time_that_runs_faster_has_no_hours() {
    check(
        "[edge.queue]\nmax_connections = 8\n[scale.web]\nmax = 3\nspeed = 2\nschedule = [{ from = \"07:00\", to = \"08:00\", min = 2 }]\n",
        expect![[r#"
            error: times of the day mean nothing where time runs faster (`speed`)
              --> banyan.toml:10:1
               |
            10 | schedule = [{ from = "07:00", to = "08:00", min = 2 }]
               | ^^^^^^^^
               = remove speed, or schedule

            1 error; nothing was changed"#]],
    );
}

#[test]
fn only_what_requests_reach_can_be_scaled() {
    check(
        "[process.worker]\ncommand = \"work\"\n[scale.worker]\nmax = 3\n[scale.wep]\nmax = 3\n",
        expect![[r#"
            error: no HTTP request reaches `worker`, so its load cannot be seen
             --> banyan.toml:7:8
              |
            7 | [scale.worker]
              |        ^^^^^^
              = write count in its [process] table

            error: there is no process `wep`
             --> banyan.toml:9:8
              |
            9 | [scale.wep]
              |        ^^^
              = processes are: web, worker

            2 errors; nothing was changed"#]],
    );
}
