//! RFC 9111 §4.4 and RFC 9875: what an unsafe request makes untrue.

use banyan_httpcache::{Answered, Scope, invalidates};
use http::{Method, StatusCode};

use crate::world::{fields, get, head, rfc, word};

fn after(method: &str, status: u16, response: &str) -> Vec<String> {
    let headers = fields(response);
    let answered = Answered {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: &headers,
    };
    let target = "https://a.test/shop/list?page=2".parse().expect("a URI");
    let scopes = invalidates(
        &Method::from_bytes(method.as_bytes()).expect("a method"),
        &target,
        answered,
    );
    scopes
        .into_iter()
        .map(|scope| match scope {
            Scope::Uri(path) => path,
            Scope::Tag(tag) => format!("tag {tag}"),
        })
        .collect()
}

#[test]
fn section_4_4_success_of_an_unsafe_method_invalidates_the_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "FOO"] {
        assert_eq!(after(method, 200, ""), ["/shop/list?page=2"], "{method}");
        assert_eq!(after(method, 303, ""), ["/shop/list?page=2"], "{method}");
        assert!(after(method, 404, "").is_empty() && after(method, 500, "").is_empty());
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(after(method, 200, "").is_empty(), "{method}");
    }
}

#[test]
fn section_4_4_location_and_content_location_of_the_same_origin_too() {
    let target = "/shop/list?page=2";
    let table = [
        ("Location: /new", Some("/new")),
        ("Location: new?x#y", Some("/shop/new?x")),
        ("Location: ../up/./x", Some("/up/x")),
        ("Location: ?page=3", Some("/shop/list?page=3")),
        ("Content-Location: https://A.test:443/abs", Some("/abs")),
        ("Location: //a.test/net", Some("/net")),
        ("Location: https://b.test/other", None),
        ("Location: http://a.test/other", None),
        ("Location: https://a.test:8443/other", None),
    ];
    for (response, wanted) in table {
        let expected: Vec<&str> = std::iter::once(target).chain(wanted).collect();
        assert_eq!(after("POST", 201, response), expected, "{response}");
    }
}

#[test]
fn rfc_9875_section_3_groups_are_invalidated_by_name() {
    let found = after("POST", 200, "Cache-Group-Invalidation: \"a\", \"b\";x=1");
    assert_eq!(found[1..], ["tag group:a", "tag group:b"]);
    assert_eq!(after("POST", 200, "Cache-Group-Invalidation: a").len(), 1);
    assert!(after("GET", 200, "Cache-Group-Invalidation: \"a\"").is_empty());
    let stored = head(
        &rfc(),
        "Cache-Control: max-age=60\nCache-Groups: \"a\", \"B\"\nSurrogate-Key: k1 k2\nCache-Tag: t1, t2",
    );
    assert_eq!(stored.tags, ["group:B", "group:a", "k1", "k2", "t1", "t2"]);
}

#[test]
fn section_4_4_what_was_invalidated_is_validated_before_its_next_use() {
    let mut stored = head(&rfc(), "Cache-Control: max-age=60\nETag: \"a\"");
    stored.invalidated = true;
    assert_eq!(
        word(&get(&rfc(), &[stored], "Cache-Control: max-stale", 1)),
        "validate 0: invalidated"
    );
}
