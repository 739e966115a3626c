//! RFC 9211: what the cache says it did.

use banyan_httpcache::{CACHE_STATUS, CacheStatus, Forward, Outcome, Why};
use http::StatusCode;

use crate::world::fields;

#[test]
fn members_are_appended_behind_those_of_caches_nearer_to_the_origin() {
    let mut headers = fields("Cache-Status: Origin; hit");
    let hit = CacheStatus {
        cache: "edge1",
        outcome: Outcome::Hit,
        ttl: Some(30),
        detail: None,
        backup: false,
    };
    hit.append_to(&mut headers);
    let lines: Vec<&str> = headers
        .get_all(CACHE_STATUS)
        .iter()
        .map(|line| line.to_str().unwrap())
        .collect();
    assert_eq!(lines, ["Origin; hit", "\"edge1\"; hit; ttl=30"]);
}

#[test]
fn section_2_a_forwarded_request_says_why() {
    let status = |why, stored, collapsed| {
        let outcome = Outcome::Forwarded {
            why: Forward::of(why),
            status: Some(StatusCode::NOT_MODIFIED),
            stored,
            collapsed,
        };
        CacheStatus {
            cache: "a\"b",
            outcome,
            ttl: Some(-2),
            detail: Some(why),
            backup: why == Why::Absent,
        }
        .to_string()
    };
    assert_eq!(
        status(Why::Expired, true, None),
        "\"a\\\"b\"; fwd=stale; fwd-status=304; stored; ttl=-2; detail=expired"
    );
    assert_eq!(
        status(Why::Absent, false, Some(true)),
        "\"a\\\"b\"; fwd=uri-miss; fwd-status=304; collapsed; ttl=-2; detail=absent/backup"
    );
    assert!(status(Why::Vary, false, Some(false)).contains("fwd=vary-miss; fwd-status=304; collapsed=?0"));
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let mut names: Vec<&str> = Why::ALL.iter().map(|why| why.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Why::ALL.len());
}
