//! The scratch Redis: its own password, its failures, its disk.

use banyan_testkit::Redis;
use banyan_testkit::redis::command;

#[test]
fn servers_are_of_their_tests_alone() {
    let (one, other) = (Redis::start().unwrap(), Redis::start().unwrap());
    assert_eq!(one.command(&["SET", "k", "v"]).unwrap(), "OK");
    assert_eq!(one.command(&["GET", "k"]).unwrap(), "v");
    assert_eq!(other.command(&["GET", "k"]).unwrap(), "");
    let wrong = one.url().replace(one.password(), "wrong");
    assert!(
        command(&wrong, &["GET", "k"])
            .unwrap_err()
            .to_string()
            .contains("AUTH")
    );
    assert!(
        one.command(&["NONSENSE"])
            .unwrap_err()
            .to_string()
            .contains("unknown command")
    );
}

#[test]
fn a_killed_one_comes_back_with_what_its_disk_has() {
    let mut keeps = Redis::start_with(&["appendonly yes", "appendfsync always"]).unwrap();
    let mut forgets = Redis::start().unwrap();
    for redis in [&mut keeps, &mut forgets] {
        redis.command(&["SET", "k", "v"]).unwrap();
        let port = redis.port();
        redis.kill();
        assert!(redis.command(&["PING"]).is_err());
        redis.restart().unwrap();
        assert_eq!(redis.port(), port);
    }
    assert_eq!(keeps.command(&["GET", "k"]).unwrap(), "v");
    assert_eq!(forgets.command(&["GET", "k"]).unwrap(), "");
}

#[test]
fn a_paused_one_goes_on_where_it_was() {
    let redis = Redis::start().unwrap();
    redis.command(&["SET", "k", "v"]).unwrap();
    redis.pause();
    redis.resume();
    assert_eq!(redis.command(&["GET", "k"]).unwrap(), "v");
}
