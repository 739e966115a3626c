//! `[sessions]` and `[cache]`.

use expect_test::expect;

use super::check;

#[test]
fn a_url_excludes_the_other_keys_and_must_lead_somewhere() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[sessions]
url = "redis://one,two"
memory = "1GiB"
[cache]
url = "redis+cluster://default:geheim@one,two"
eviction = "lru"
[app.env]
HOST_OF_CACHE = "{{cache.host}}"
"##,
        expect![[r#"
            error: `url` is not the address of a Redis: it names several hosts, which only redis+sentinel:// and redis+cluster:// do
             --> banyan.toml:6:7
              = write url = "redis://default:{{secret.REDIS_PASSWORD}}@host:6379/0"; rediss:// for TLS, redis+sentinel://…@host:26379,host:26379/sessions for Sentinel, redis+cluster://…@host,host for Cluster

            error: `memory` has no effect: `url` names a Redis that Banyan does not run
             --> banyan.toml:7:1
              |
            7 | memory = "1GiB"
              | ^^^^^^
              = remove this line, or remove `url` to let Banyan run Redis

            error: `eviction` has no effect: `url` names a Redis that Banyan does not run
              --> banyan.toml:10:1
               |
            10 | eviction = "lru"
               | ^^^^^^^^
               = remove this line, or remove `url` to let Banyan run Redis

            error: `{{cache.host}}` has no value: `url` in [cache] names several hosts
              --> banyan.toml:12:18
               |
            12 | HOST_OF_CACHE = "{{cache.host}}"
               |                  ^^^^^^^^^^^^^^
               = use {{cache.url}}, which names them all

            4 errors; nothing was changed"#]],
    );
}

#[test]
fn what_needs_a_redis_says_which_table_is_missing() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web --redis $REDIS_URL"
[app.env]
BROKER = "{{sessions.url}}"
"##,
        expect![[r#"
            error: `$REDIS_URL` is not set for this command
             --> banyan.toml:4:26
              |
            4 | command = "./web --redis $REDIS_URL"
              |                          ^^^^^^^^^^
              = add a [sessions] table; empty, it makes Banyan run Redis
              = for a shell that the command starts, use single quotes: sh -c 'echo $NAME'

            error: `{{sessions.url}}` needs Redis, and there is none for it
             --> banyan.toml:6:11
              |
            6 | BROKER = "{{sessions.url}}"
              |           ^^^^^^^^^^^^^^^^
              = add a [sessions] table; empty, it makes Banyan run Redis

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn settings_are_those_that_can_be_chosen() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[sessions]
eviction = "lru"
memory = "1MiB"
[sessions.settings]
appendonly = false
maxmemory_samples = 3
nonsense-setting = 1
notify-keyspace-events = "K'"
[cache]
eviction = "random"
"##,
        expect![[r#"
            error: unknown key `eviction` in [sessions]
             --> banyan.toml:6:1
              |
            6 | eviction = "lru"
              | ^^^^^^^^
              = `eviction` belongs in [cache]

            error: `memory` cannot be "1MiB"
             --> banyan.toml:7:10
              |
            7 | memory = "1MiB"
              |          ^^^^^^
              = write a size from "4MiB" to "64TiB"

            error: `appendonly` cannot be set here
             --> banyan.toml:9:1
              |
            9 | appendonly = false
              | ^^^^^^^^^^
              = [sessions] is kept on the disk, [cache] is not: use the one that fits

            error: `maxmemory_samples` is not a setting of Redis that can be chosen
              --> banyan.toml:10:1
               |
            10 | maxmemory_samples = 3
               | ^^^^^^^^^^^^^^^^^
               = did you mean maxmemory-samples?

            error: `nonsense-setting` is not a setting of Redis that can be chosen
              --> banyan.toml:11:1
               |
            11 | nonsense-setting = 1
               | ^^^^^^^^^^^^^^^^
               = write one that docs/redis.md lists, or run a Redis of your own and name it by `url`

            error: `notify-keyspace-events` has a quote, a backslash or a line break
              --> banyan.toml:12:26
               |
            12 | notify-keyspace-events = "K'"
               |                          ^^^^
               = no setting of Redis needs one: write the bare value

            error: `eviction` cannot be `random`
              --> banyan.toml:14:12
               |
            14 | eviction = "random"
               |            ^^^^^^^^
               = write "lfu", "lru", "fifo"

            7 errors; nothing was changed"#]],
    );
}

#[test]
fn ports_are_of_one_program_each() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database]
port = 5433
[sessions]
port = 8080
[cache]
port = 5433
"##,
        expect![[r#"
            error: port 8080 is taken: the edge listens on it
             --> banyan.toml:8:8
              |
            8 | port = 8080
              |        ^^^^
              = write another port, or remove the line: Banyan finds a free one

            error: port 5433 is taken: it is PostgreSQL's (database.port)
              --> banyan.toml:10:8
               |
            10 | port = 5433
               |        ^^^^
               = write another port, or remove the line: Banyan finds a free one

            2 errors; nothing was changed"#]],
    );
}
