//! A real Redis: made, entered with a password only, killed, stopped, started again with or without its data.
//!
//! As root the server runs as user `redis`, else as whoever runs the tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use banyan_config::{Eviction, Purpose, RedisSetting};
use banyan_supervisor::ChildState;
use banyan_supervisor::engine::redis::{self, RedisError, Server};
use banyan_testkit::redis::command;
use banyan_topology::Redis;

use crate::world::{World, free_port};

fn server(world: &World, purpose: Purpose) -> Server {
    let run_as = redis::run_as();
    let secrets = world.path().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::create_dir_all(world.path().join("logs")).unwrap();
    Server {
        redis: Redis {
            purpose,
            port: free_port(),
            memory_bytes: 64 << 20,
            eviction: match purpose {
                Purpose::Sessions => Eviction::None,
                Purpose::Cache => Eviction::Lfu,
            },
            settings: BTreeMap::new(),
        },
        data: redis::place(world.path(), "photos", &run_as, purpose).unwrap(),
        secrets,
        log: world.path().join(format!("logs/redis-{purpose}.log")),
        run_as,
    }
}

fn url(server: &Server) -> String {
    server.address().unwrap().url().trim_end_matches("/0").to_owned()
}

fn ask(server: &Server, words: &[&str]) -> String {
    command(&url(server), words).unwrap()
}

fn refusal(server: &Server, words: &[&str]) -> String {
    command(&url(server), words).unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_outlives_a_kill_and_a_stop_and_only_a_password_leads_to_it() {
    let world = World::new();
    let server = server(&world, Purpose::Sessions);
    server.start(&world.handle).await.unwrap();
    assert_eq!(ask(&server, &["SET", "session", "kept"]), "OK");

    for words in [
        &["CONFIG", "GET", "*"][..],
        &["DEBUG", "SLEEP", "1"],
        &["SHUTDOWN"],
        &["KEYS", "*"],
        &["FLUSHALL"],
        &["ACL", "LIST"],
        &["SAVE"],
        &["REPLICAOF", "127.0.0.1", "1"],
    ] {
        let refused = refusal(&server, words);
        let no = refused.contains("NOPERM") || refused.contains("DEBUG command not allowed");
        assert!(no, "{words:?}: {refused}");
    }
    assert!(ask(&server, &["INFO", "server"]).contains("redis_version"));
    let stranger = url(&server).replace(&server.address().unwrap().password, "wrong");
    assert!(command(&stranger, &["GET", "session"]).is_err());
    // Edges may count, and nothing else.
    let edge = server.address_for_edges().unwrap().url();
    let edge = edge.trim_end_matches("/0").to_owned();
    assert_ne!(edge, url(&server));
    let script = "redis.call('SET', KEYS[1], redis.call('TIME')[1]) return redis.call('GET', KEYS[1])";
    let count = ["EVAL", script, "1", "banyan:limit:one"];
    for again in [false, true] {
        if again {
            server.let_edges_in().await.unwrap();
        }
        let counted = command(&edge, &count).unwrap();
        assert!(counted.parse::<u64>().is_ok(), "{counted}");
        for words in [
            &["GET", "session"][..],
            &["EVAL", "return redis.call('GET', KEYS[1])", "1", "session"],
            &["KEYS", "*"],
            &["FLUSHALL"],
            &["INFO"],
            &["DEL", "banyan:limit:one"],
        ] {
            let refused = format!("{:?}", command(&edge, words));
            assert!(
                refused.contains("NOPERM") || refused.contains("permission"),
                "{words:?}: {refused}"
            );
        }
    }
    assert_eq!(ask(&server, &["DEL", "banyan:limit:one"]), "1");
    for file in ["redis.conf", "users.acl"] {
        let mode = fs::metadata(server.data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let id = server.id().0;
    let before = world.until_ready(&id).await;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(before.pid.unwrap().cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    world
        .until(&id, |now| now.state == ChildState::Ready && now.pid != before.pid)
        .await;
    server.start(&world.handle).await.unwrap();
    assert_eq!(ask(&server, &["GET", "session"]), "kept");

    world.handle.stop(&server.id()).await;
    server.start(&world.handle).await.unwrap();
    assert_eq!(ask(&server, &["GET", "session"]), "kept");
    let info = server.info().await.unwrap();
    assert_eq!((info.keys, info.max_bytes, info.persists), (1, 64 << 20, true));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_begins_empty_whatever_lies_there() {
    let world = World::new();
    let server = server(&world, Purpose::Cache);
    server.start(&world.handle).await.unwrap();
    ask(&server, &["SET", "user", "old"]);
    assert_eq!(ask(&server, &["FLUSHALL"]), "OK");
    ask(&server, &["SET", "user", "old"]);
    world.handle.stop(&server.id()).await;
    fs::write(server.data.join("dump.rdb"), "REDIS0010 of another time").unwrap();
    server.start(&world.handle).await.unwrap();
    assert_eq!(ask(&server, &["GET", "user"]), "");
    let info = server.info().await.unwrap();
    assert_eq!(
        (info.policy.as_str(), info.max_bytes),
        ("allkeys-lfu", (64 << 20) / 5 * 4)
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_one_takes_settings_whole_or_not_at_all() {
    let mut world = World::new();
    let mut server = server(&world, Purpose::Cache);
    server.start(&world.handle).await.unwrap();
    let pid = world.until_ready(&server.id().0).await.pid;
    let before = server.clone();
    server.redis.memory_bytes = 10 << 20;
    server.redis.eviction = Eviction::Lru;
    server.redis.settings = BTreeMap::from([("hz".to_owned(), "25".to_owned())]);
    server.configure().await.unwrap();
    let info = server.info().await.unwrap();
    assert_eq!((info.policy.as_str(), info.max_bytes), ("allkeys-lru", 8 << 20));

    let mut wrong = server.clone();
    wrong.redis.memory_bytes = 20 << 20;
    wrong.redis.settings = BTreeMap::from([("hz".to_owned(), "often".to_owned())]);
    let error = wrong.configure().await.unwrap_err();
    assert!(
        matches!(&error, RedisError::Setting { line, .. } if line.contains("hz")),
        "{error}"
    );
    assert_eq!(server.info().await.unwrap().max_bytes, 8 << 20);

    // A new controller finds it, and gives it what it is to have.
    world.restart_controller().await;
    before.start(&world.handle).await.unwrap();
    assert_eq!(world.until_ready(&server.id().0).await.pid, pid);
    let config = fs::read_to_string(server.data.join("redis.conf")).unwrap();
    assert!(config.contains("\nhz 10\n"), "{config}");
    assert_eq!(before.info().await.unwrap().policy, "allkeys-lfu");

    // At a start a wrong one is told in Redis's own words, and nothing runs on.
    world.handle.stop(&server.id()).await;
    let error = wrong.start(&world.handle).await.unwrap_err();
    assert!(
        matches!(&error, RedisError::Setting { line, .. } if line.contains("hz")),
        "{error}"
    );
    assert!(world.status_of(&server.id().0).await.is_none());
    world.end().await;
}

#[test]
fn the_defaults_that_a_removed_setting_goes_back_to_are_those_of_redis() {
    let bare = banyan_testkit::Redis::start().unwrap();
    for setting in RedisSetting::ALL {
        let said = bare.command(&["CONFIG", "GET", setting.name]).unwrap();
        let (name, value) = said.split_once('\n').unwrap_or((&said, ""));
        assert_eq!((name, value.trim()), (setting.name, setting.default));
        let set = bare.command(&["CONFIG", "SET", setting.name, setting.default]);
        assert_eq!(set.is_err(), setting.at_start, "{}: {set:?}", setting.name);
    }
}
