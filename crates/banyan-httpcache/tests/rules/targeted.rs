//! RFC 9213: fields for us alone.

use crate::world::{rfc, stored_as};

fn lifetime(response: &str) -> String {
    match stored_as(&rfc(), 200, &format!("ETag: \"a\"\n{response}")) {
        banyan_httpcache::Admit::Yes(head) => head.lifetime.as_secs().to_string(),
        banyan_httpcache::Admit::No(why) => why.to_string(),
    }
}

#[test]
fn section_2_2_a_targeted_field_replaces_cache_control_and_expires() {
    let table = [
        ("CDN-Cache-Control: max-age=90\nCache-Control: max-age=60", "90"),
        ("CDN-Cache-Control: max-age=90\nCache-Control: no-store", "90"),
        ("CDN-Cache-Control: max-age=90\nExpires: 0", "90"),
        (
            "CDN-Cache-Control: no-store\nCache-Control: max-age=60",
            "no-store",
        ),
        ("CDN-Cache-Control: private\nCache-Control: max-age=60", "private"),
        ("CDN-Cache-Control: max-age=0\nCache-Control: max-age=60", "0"),
        (
            "CDN-Cache-Control: max-age=90;x=y\nCache-Control: max-age=60",
            "90",
        ),
        (
            "CDN-Cache-Control: unknown\nExpires: Sat, 21 Nov 2026 12:01:00 GMT",
            "0",
        ),
        (
            "Banyan-Cache-Control: max-age=30\nCDN-Cache-Control: max-age=90",
            "30",
        ),
        ("CDN-Cache-Control: public, max-age=90, s-maxage=20", "20"),
    ];
    for (response, wanted) in table {
        assert_eq!(lifetime(response), wanted, "{response}");
    }
}

#[test]
fn section_2_1_what_is_no_dictionary_of_the_right_types_is_ignored() {
    for field in [
        "",
        "max-age=\"90\"",
        "max-age=90.0",
        "max-age=-90",
        "MAX-AGE=90",
        "max-age=90, &&&",
        "max-age=90,",
        "no-store=1, max-age=90",
        "max-age=(1 2)",
    ] {
        let response = format!("CDN-Cache-Control: {field}\nCache-Control: max-age=60");
        assert_eq!(lifetime(&response), "60", "{field}");
    }
    // What nobody knows has any type (RFC 9111 §5.2.3).
    for field in [
        "max-age=90, foo=(a b)",
        "max-age=90, foo=:YQ==:",
        "foo=1.5, max-age=90",
        "foo=?0, max-age=90",
    ] {
        let response = format!("CDN-Cache-Control: {field}\nCache-Control: max-age=60");
        assert_eq!(lifetime(&response), "90", "{field}");
    }
}

/// Edge Architecture Specification 1.0 §2.2.
#[test]
fn surrogate_control_is_heard_where_no_targeted_field_is() {
    for (response, expected) in [
        ("Surrogate-Control: max-age=90\nCache-Control: max-age=60", "90"),
        ("Surrogate-Control: max-age=90\nCache-Control: no-store", "90"),
        ("Surrogate-Control: max-age=90\nExpires: 0", "90"),
        ("Surrogate-Control: MaX-aGe=90", "90"),
        ("Surrogate-Control: content=\"ESI/1.0\", max-age=90+600", "90"),
        ("Surrogate-Control: max-age=0\nCache-Control: max-age=60", "0"),
        (
            "Surrogate-Control: no-store\nCache-Control: max-age=60",
            "no-store",
        ),
        (
            "Surrogate-Control: no-store-remote\nCache-Control: max-age=60",
            "no-store",
        ),
        // Targeted fields are the standard.
        ("Surrogate-Control: no-store\nCDN-Cache-Control: max-age=30", "30"),
        // Nothing in it is for us.
        (
            "Surrogate-Control: content=\"ESI/1.0\"\nCache-Control: max-age=60",
            "60",
        ),
        (
            "Surrogate-Control: max-age=90;other\nCache-Control: max-age=60",
            "60",
        ),
        (
            "Surrogate-Control: no-store;other\nCache-Control: max-age=60",
            "60",
        ),
        ("Surrogate-Control: max-age =90\nCache-Control: max-age=60", "60"),
        ("Surrogate-Control: max-age= 90\nCache-Control: max-age=60", "60"),
        ("Surrogate-Control: max-age=90+\nCache-Control: max-age=60", "60"),
        ("Surrogate-Control: max-age=-1\nCache-Control: max-age=60", "60"),
        // A CDN is no more than a shared cache.
        ("Surrogate-Control: max-age=90\nCache-Control: private", "private"),
    ] {
        assert_eq!(lifetime(response), expected, "{response}");
    }
}
