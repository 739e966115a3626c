use http::Request;

use super::*;

fn rules(private: bool) -> Compress {
    let types = ["text/*", "application/json", "application/*+json"];
    Compress {
        codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        types: types.map(str::to_owned).to_vec(),
        min: 1024,
        max: 10 << 20,
        private,
    }
}

fn head(method: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[test]
fn what_is_compressed_is_decided_by_both_heads() {
    const GZIP: (&str, &str) = ("accept-encoding", "gzip");
    const TEXT: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    const YES: Verdict = Verdict::Compressed(Coding::Gzip);
    const NO: Verdict = Verdict::AsItIs;
    let cookie = ("cookie", "a=1");
    for (asks, status, says, length, expected) in [
        (vec![GZIP], 200, vec![TEXT], Some(1024), YES),
        (vec![GZIP], 200, vec![TEXT], None, YES),
        (vec![GZIP], 404, vec![TEXT], Some(5000), YES),
        (vec![GZIP], 200, vec![TEXT], Some(1023), NO),
        (vec![GZIP], 200, vec![TEXT], Some((10 << 20) + 1), NO),
        (vec![], 200, vec![TEXT], Some(5000), Verdict::Varies),
        (
            vec![("accept-encoding", "deflate")],
            200,
            vec![TEXT],
            None,
            Verdict::Varies,
        ),
        (
            vec![GZIP, ("cache-control", "no-transform")],
            200,
            vec![TEXT],
            None,
            Verdict::Varies,
        ),
        (vec![GZIP], 206, vec![TEXT], None, NO),
        (
            vec![GZIP],
            200,
            vec![TEXT, ("content-range", "bytes 0-1/2")],
            None,
            NO,
        ),
        (vec![GZIP], 204, vec![TEXT], None, NO),
        (vec![GZIP], 304, vec![], None, Verdict::Varies),
        (vec![GZIP], 200, vec![TEXT, ("content-encoding", "br")], None, NO),
        (
            vec![GZIP],
            200,
            vec![TEXT, ("content-encoding", "identity")],
            None,
            YES,
        ),
        (
            vec![GZIP],
            200,
            vec![TEXT, ("repr-digest", "sha-256=:x:")],
            None,
            NO,
        ),
        (
            vec![GZIP],
            200,
            vec![TEXT, ("cache-control", "max-age=1, No-Transform")],
            None,
            NO,
        ),
        (
            vec![GZIP],
            200,
            vec![TEXT, ("cache-control", "private=\"x\"")],
            None,
            NO,
        ),
        (vec![GZIP], 200, vec![TEXT, ("set-cookie", "a=1")], None, NO),
        (vec![GZIP, cookie], 200, vec![TEXT], None, NO),
        (
            vec![GZIP, cookie],
            200,
            vec![TEXT, ("cache-control", "public")],
            None,
            YES,
        ),
        (vec![GZIP, ("authorization", "x")], 200, vec![TEXT], None, NO),
        (vec![GZIP], 200, vec![], None, NO),
        (vec![GZIP], 200, vec![("content-type", "image/png")], None, NO),
        (
            vec![GZIP],
            200,
            vec![("content-type", "APPLICATION/geo+json")],
            None,
            YES,
        ),
        (
            vec![GZIP],
            200,
            vec![("content-type", "application/grpc")],
            None,
            NO,
        ),
        (
            vec![GZIP],
            200,
            vec![("content-type", "text/event-stream")],
            None,
            NO,
        ),
    ] {
        let asked = rules(false).ask(&mut head("GET", &asks));
        let status = StatusCode::from_u16(status).unwrap();
        let found = rules(false).judge(&asked, status, &map(&says), false, length);
        assert_eq!(found, expected, "{asks:?} {status} {says:?} {length:?}");
    }
    let asked = rules(true).ask(&mut head("GET", &[GZIP, cookie]));
    let says = map(&[TEXT, ("set-cookie", "a=1"), ("cache-control", "private")]);
    assert_eq!(rules(true).judge(&asked, StatusCode::OK, &says, false, None), YES);
    let mut named = rules(false);
    named.types.push("text/event-stream".to_owned());
    let asked = named.ask(&mut head("GET", &[GZIP]));
    let says = map(&[("content-type", "text/event-stream")]);
    assert_eq!(named.judge(&asked, StatusCode::OK, &says, false, None), YES);
}

#[test]
fn the_answers_head_says_what_was_done() {
    let said = |asks: &[(&str, &str)], status: u16, says: &[(&'static str, &str)]| {
        let asked = rules(false).ask(&mut head("GET", asks));
        let status = StatusCode::from_u16(status).unwrap();
        let mut headers = map(says);
        let verdict = rules(false).judge(&asked, status, &headers, false, Some(5000));
        describe(&asked, verdict, status, &mut headers);
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .filter(|line| !line.starts_with("content-type"))
            .collect();
        lines.sort();
        lines.join("; ")
    };
    let kind = ("content-type", "text/css");
    let tag = ("etag", "\"v1\"");
    let br = ("accept-encoding", "br");
    let plain = [
        kind,
        tag,
        ("content-length", "5000"),
        ("accept-ranges", "bytes"),
        ("vary", "Accept"),
    ];
    assert_eq!(
        said(&[br], 200, &plain),
        "content-encoding: br; etag: \"v1~br\"; vary: Accept; vary: Accept-Encoding"
    );
    assert_eq!(
        said(&[], 200, &plain),
        "accept-ranges: bytes; content-length: 5000; etag: \"v1\"; vary: Accept; vary: Accept-Encoding"
    );
    assert_eq!(
        said(
            &[br],
            200,
            &[kind, ("etag", "W/\"v1\""), ("vary", "accept-ENCODING, origin")]
        ),
        "content-encoding: br; etag: W/\"v1\"; vary: accept-ENCODING, origin"
    );
    // Whoever has the compressed form is told of that one, whoever has the plain one of that.
    let has = ("if-none-match", "\"v0\", \"v1~br\"");
    assert_eq!(
        said(&[br, has], 304, &[tag]),
        "etag: \"v1~br\"; vary: Accept-Encoding"
    );
    let has = ("if-none-match", "\"v1\"");
    assert_eq!(
        said(&[br, has], 304, &[tag]),
        "etag: \"v1\"; vary: Accept-Encoding"
    );
}

#[test]
fn the_application_hears_of_its_own_tags_only() {
    let asked = |method: &str, asks: &[(&str, &str)]| {
        let mut head = head(method, asks);
        let _asked = rules(false).ask(&mut head);
        let conditions = [header::IF_NONE_MATCH, header::IF_MATCH, header::IF_RANGE];
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        conditions.map(|name| text(name).unwrap_or("-").to_owned())
    };
    let br = ("accept-encoding", "br");
    let has = ("if-none-match", "\"v1~br\", \"v2~gzip\"");
    // Another coding's form is not what it would get now.
    assert_eq!(asked("GET", &[br, has])[0], "\"v1\", \"v2~gzip\"");
    assert_eq!(asked("GET", &[has])[0], "\"v1~br\", \"v2~gzip\"");
    let put = asked("PUT", &[("if-match", "\"v1~br\"")]);
    assert_eq!(put[1], "\"v1\"");
    // A part of the compressed form cannot be had: the whole comes.
    let range = asked("GET", &[br, ("range", "bytes=5-"), ("if-range", "\"v1~br\"")]);
    assert_eq!(range[2], "\"v1~br\"");
}
