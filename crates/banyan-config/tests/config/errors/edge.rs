//! `[edge]`.

use expect_test::expect;

use super::check;

#[test]
fn the_edge_needs_its_process() {
    check(
        r##"version = 1
name = "shop"
[edge]
process = "wbe"
--- Procfile
web: ./web
"##,
        expect![[r#"
            error: the edge needs a process `wbe`, and there is none
             --> banyan.toml:4:11
              |
            4 | process = "wbe"
              |           ^^^^^
              = did you mean process = "web" in [edge]?

            1 error; nothing was changed"#]],
    );
}

#[test]
fn the_edge_without_any_process() {
    check(
        r##"version = 1
name = "shop"
[edge]
port = 80
"##,
        expect![[r#"
            error: the edge needs a process `web`, and there is none
             --> banyan.toml:3:2
              |
            3 | [edge]
              |  ^^^^
              = write a Procfile with a line web: command, or command = "…" in [process.web]

            1 error; nothing was changed"#]],
    );
}

#[test]
fn ports_may_not_collide() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
port = 5432
[database]
port = 5432
"##,
        expect![[r#"
            error: port 5432 is taken: the edge listens on it
             --> banyan.toml:8:8
              |
            8 | port = 5432
              |        ^^^^
              = write another port, or remove the line: Banyan finds a free one

            1 error; nothing was changed"#]],
    );
}

#[test]
fn balance_health_queue_and_sticky_sessions_are_checked() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
balance = "leastconn"
weights = [3, 0]
slow_start = 20
sticky = "session"
[edge.health]
max_ejected = 200
base_ejection_time = "30s"
[edge.queue]
maxconn = 50
"##,
        expect![[r#"
            error: `balance` cannot be `leastconn`
             --> banyan.toml:6:11
              |
            6 | balance = "leastconn"
              |           ^^^^^^^^^^^
              = write "p2c_ewma", "round_robin", "weighted", "least_connections", "ip_hash", "ring"

            error: `weights` cannot be 0
             --> banyan.toml:7:15
              |
            7 | weights = [3, 0]
              |               ^
              = write a whole number from 1 to 100

            error: `slow_start` has no unit
             --> banyan.toml:8:14
              |
            8 | slow_start = 20
              |              ^^
              = write slow_start = "20s" for seconds, or use ms, m, h, d

            error: `sticky` cannot be `session`
             --> banyan.toml:9:10
              |
            9 | sticky = "session"
              |          ^^^^^^^^^
              = write "cookie", "ip"

            error: `max_ejected` cannot be 200
              --> banyan.toml:11:15
               |
            11 | max_ejected = 200
               |               ^^^
               = write a whole number from 0 to 100

            error: unknown key `base_ejection_time` in [edge.health]
              --> banyan.toml:12:1
               |
            12 | base_ejection_time = "30s"
               | ^^^^^^^^^^^^^^^^^^
               = did you mean `eject`?

            error: unknown key `maxconn` in [edge.queue]
              --> banyan.toml:14:1
               |
            14 | maxconn = 50
               | ^^^^^^^
               = did you mean `max_connections`?

            7 errors; nothing was changed"#]],
    );
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge.sticky]
by = "ip"
cookie = "shop_i"
"##,
        expect![[r#"
            error: sticky by address has no cookie
             --> banyan.toml:7:10
              |
            7 | cookie = "shop_i"
              |          ^^^^^^^^
              = write sticky = "ip", or sticky = { cookie = "…" }

            1 error; nothing was changed"#]],
    );
}

#[test]
fn keys_of_the_edge_without_effect_are_named() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
balance = "round_robin"
weights = [3, 1]
hash_by = "ip"
sticky = "ip"
queue = { length = 5 }
"##,
        expect![[r#"
            warning: `balance` has no effect with sticky = "ip"
             --> banyan.toml:6:1
              |
            6 | balance = "round_robin"
              | ^^^^^^^
              = the client's address alone decides; remove one of the two

            warning: `weights` has no effect with balance = "round_robin"
             --> banyan.toml:7:1
              |
            7 | weights = [3, 1]
              | ^^^^^^^
              = balance = "weighted" is round robin with weights

            warning: `hash_by` has no effect with balance = "round_robin"
             --> banyan.toml:8:1
              |
            8 | hash_by = "ip"
              | ^^^^^^^
              = only balance = "ring" goes by it

            warning: `length` has no effect without `max_connections`
              --> banyan.toml:10:11
               |
            10 | queue = { length = 5 }
               |           ^^^^^^
               = without a limit per instance nothing waits

            no error"#]],
    );
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
sticky = "cookie"
"##,
        expect![[r#"
            error: sticky by cookie needs the cookie's name
             --> banyan.toml:6:10
              |
            6 | sticky = "cookie"
              |          ^^^^^^^^
              = write sticky = { cookie = "myapp_i" }

            1 error; nothing was changed"#]],
    );
}

#[test]
fn the_ports_of_https_and_metrics_may_not_collide_with_others() {
    for (text, place) in [
        (
            "[edge]\ntls = \"self-signed\"\nhttps_port = 5433\n[database]\nport = 5433\n",
            "7:8",
        ),
        ("[metrics]\nlisten = \"127.0.0.1:8080\"\n", "4:10"),
        ("[database]\nport = 9464\n", "4:8"),
    ] {
        let errors = crate::told(&format!(
            "version = 1\nname = \"shop\"\n{text}--- Procfile\nweb: ./web\n"
        ));
        assert!(
            errors.contains("is taken") && errors.contains(&format!("banyan.toml:{place}")),
            "{errors}"
        );
    }
}

#[test]
fn metrics_and_the_log_are_judged_where_they_are_written() {
    check(
        r##"version = 1
name = "shop"
[edge.log]
sample = 10
slow = "0s"
[metrics]
listen = ":9464"
--- Procfile
web: ./web
"##,
        expect![[r#"
            error: `sample` cannot be 10
             --> banyan.toml:4:10
              |
            4 | sample = 10
              |          ^^
              = write a number from 0 to 1: 0.1 for 10 %

            error: `slow` cannot be "0s"
             --> banyan.toml:5:8
              |
            5 | slow = "0s"
              |        ^^^^
              = write a duration from "1ms" to "1d"

            error: `listen` cannot be ":9464"
             --> banyan.toml:7:10
              |
            7 | listen = ":9464"
              |          ^^^^^^^
              = write "127.0.0.1:9464"

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn metrics_for_everyone_and_a_log_that_is_off_are_warned_of() {
    check(
        r##"version = 1
name = "shop"
[edge]
access_log = false
log = { sample = 0.5 }
[metrics]
listen = "0.0.0.0:9464"
--- Procfile
web: ./web
"##,
        expect![[r#"
            warning: `log` has no effect with access_log = false
             --> banyan.toml:5:1
              |
            5 | log = { sample = 0.5 }
              | ^^^
              = remove one of the two

            warning: everyone who reaches 0.0.0.0:9464 can read the metrics
             --> banyan.toml:7:10
              |
            7 | listen = "0.0.0.0:9464"
              |          ^^^^^^^^^^^^^^
              = they name routes, processes and rates: let a firewall stand in front, or write 127.0.0.1

            no error"#]],
    );
}
