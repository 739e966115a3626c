//! Plans of Redis: there before who uses it, gone after, changed while it runs.

use std::collections::BTreeSet;

use banyan_config::{ExternalRedis, Purpose, Redis, Template};
use banyan_topology::check::Rule;
use banyan_topology::{Change, Plan, Step, check, plan};
use expect_test::{Expect, expect};

use crate::installation::Installation;
use crate::notation::topology;

fn plans(from: &str, to: &str, expected: Expect) {
    let (from, to) = (topology(from), topology(to));
    let plan = plan::between(&from, &to);
    assert_eq!(check::plan(&from, &plan, &to), Ok(()));
    expected.assert_eq(&plan.to_string());
}

#[test]
fn it_starts_before_the_release_that_uses_it_and_stops_after() {
    plans(
        "r1 edge web.1@r1* db",
        "r2 ran:r2 edge web.1@r2* db sessions cache",
        expect![[r#"
            1   start redis for sessions on port 26379
            2   start redis for cache on port 26380
            3 ! run the release command of r2 (not undone by rollback)
            4   make r2 the current release (was r1)
            5   start web.1@r2 on port 20201
            6   admit web.1@r2
            7   drain web.1@r1
            8   stop web.1@r1"#]],
    );
    plans(
        "r2 edge web.1@r2* db sessions cache",
        "r3 edge web.1@r3* db",
        expect![[r#"
            1   make r3 the current release (was r2)
            2   start web.1@r3 on port 20301
            3   admit web.1@r3
            4   drain web.1@r2
            5   stop web.1@r2
            6   stop redis of sessions (its data stays)
            7   stop redis of cache"#]],
    );
}

#[test]
fn settings_change_in_the_running_one_where_it_takes_them() {
    plans(
        "r1 edge web.1@r1* sessions cache",
        "r1 edge web.1@r1* sessions~ cache^",
        expect![[r#"
            1   change redis of sessions: memory 256MiB → 512MiB
            2   restart redis of cache: databases unset → 4"#]],
    );
}

#[test]
fn an_instance_never_runs_without_the_one_it_was_made_for() {
    let stays = topology("r1 edge web.1@r1* sessions");
    let redis = stays.redis[&Purpose::Sessions].clone();
    let plan: Plan = [Step::StopRedis(redis.clone()), Step::StartRedis(redis)]
        .into_iter()
        .collect();
    let found = check::plan(&stays, &plan, &stays).unwrap_err();
    let rules: Vec<Rule> = found.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [Rule::Purpose, Rule::Redis]);
}

#[test]
fn an_installation_gains_and_loses_it() {
    let mut it = Installation::new();
    it.configure();
    it.redis(Purpose::Sessions);
    it.redis(Purpose::Cache).memory_bytes = 64 << 20;
    let (plan, notes) = it.configure();
    expect![[r#"
        1   start redis for sessions on port 20003
        2   start redis for cache on port 20004
        3 ! run the release command of r2 (not undone by rollback)
        4   make r2 the current release (was r1)
        5   start web.1@r2 on port 20005
        6   admit web.1@r2
        7   drain web.1@r1
        8   stop web.1@r1
    "#]]
    .assert_eq(&format!("{plan}\n{}", notes.join("\n")));
    let port = it.current.redis[&Purpose::Sessions].port;

    // The same again is nothing to do; after a `down` it is where it was.
    assert!(it.configure().0.is_empty());
    it.down();
    it.configure();
    assert_eq!(it.current.redis[&Purpose::Sessions].port, port);

    it.redis(Purpose::Sessions).port = Some(6390);
    let refused = it.try_apply(&Change::Configuration).unwrap_err().to_string();
    expect!["sessions.port cannot change while the app uses it (20003 → 6390); run `banyan down`, then `banyan up` with the new configuration"].assert_eq(&refused);
    it.redis(Purpose::Sessions).port = None;

    // One's own in its place is another release, too.
    let url = Template::literal("redis://cache.example");
    it.config
        .redis
        .insert(Purpose::Cache, Redis::External(ExternalRedis { url }));
    it.config.redis.remove(&Purpose::Sessions);
    let (plan, notes) = it.configure();
    expect![[r#"
        1 ! run the release command of r3 (not undone by rollback)
        2   make r3 the current release (was r2)
        3   start web.1@r3 on port 20002
        4   admit web.1@r3
        5   drain web.1@r2
        6   stop web.1@r2
        7   stop redis of sessions (its data stays)
        8   stop redis of cache
        [sessions] is no longer configured: Redis stops, its data stays on the disk; sessions that were only there end, and their people must log in again
        the Redis of [cache] stops, and what it held is gone"#]].assert_eq(&format!("{plan}\n{}", notes.join("\n")));

    // What needs it cannot come back by itself.
    let refused = it
        .try_apply(&Change::Rollback { to: None })
        .unwrap_err()
        .to_string();
    expect![[r#"
        r2 uses the Redis of [sessions], which the configuration no longer has Banyan run; put [sessions] back, or `banyan deploy` a release without it
        r2 uses the Redis of [cache], which the configuration no longer has Banyan run; put [cache] back, or `banyan deploy` a release without it"#]].assert_eq(&refused);
}

#[test]
fn a_first_start_gives_each_server_a_port_of_its_own() {
    let mut it = Installation::new();
    it.redis(Purpose::Sessions);
    it.redis(Purpose::Cache);
    it.configure();
    let nodes = it
        .current
        .database
        .iter()
        .flat_map(|database| database.nodes.values());
    let proxy = it.current.pgproxy.iter().map(|proxy| proxy.listen.port());
    let redis = it.current.redis.values().map(|redis| redis.port);
    let ports: Vec<u16> = nodes.map(|node| node.port).chain(proxy).chain(redis).collect();
    let unique: BTreeSet<u16> = ports.iter().copied().collect();
    assert!(ports.len() >= 3 && unique.len() == ports.len(), "{ports:?}");
}

#[test]
fn without_the_program_it_says_what_to_install() {
    let mut it = Installation::new();
    it.facts.redis_installed = false;
    it.redis(Purpose::Cache);
    let refused = it.try_apply(&Change::Configuration).unwrap_err().to_string();
    expect!["Redis is not installed, and [cache] needs it; run `sudo apt-get install -y redis-server` (its own service is not needed: `sudo systemctl disable --now redis-server`), or set cache.url to a Redis of your own"].assert_eq(&refused);
}
