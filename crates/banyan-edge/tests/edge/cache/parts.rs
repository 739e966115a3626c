//! Ranges: of what is stored whole, and whole ones of parts (RFC 9110 §14, RFC 9111 §3.3 and §3.4).

use super::both::{Tier, both};
use super::{answer, get, ok, origin, rfc, safe, said};

both!(
    parts_of_a_whole_are_cut_here,
    several_ranges_come_as_one_body_of_parts,
    parts_are_kept_put_together_and_completed,
    a_part_of_something_else_meanwhile_is_not_mixed_in,
);

const TEXT: &str = "0123456789abcdefghij";

/// RFC 9110 §14.2, §13.1.5, §15.5.17.
async fn parts_of_a_whole_are_cut_here(tier: Tier) {
    let (upstream, asked) = origin(|_, _| {
        ok(
            "Cache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Type: text/plain\r\n",
            TEXT,
        )
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    for (range, status, body, place) in [
        ("bytes=0-4", 206, "01234", "bytes 0-4/20"),
        ("bytes=15-", 206, "fghij", "bytes 15-19/20"),
        ("bytes=-3", 206, "hij", "bytes 17-19/20"),
        ("bytes=0-99", 206, TEXT, "bytes 0-19/20"),
        ("bytes=20-", 416, "", "bytes */20"),
        ("lines=1-2", 200, TEXT, ""),
        ("bytes=x", 200, TEXT, ""),
    ] {
        let answer = world.ask(&get("/", &format!("Range: {range}\r\n"))).await;
        assert_eq!(
            (
                answer.status(),
                answer.text().as_str(),
                answer.header("content-range").as_str()
            ),
            (status, body, place),
            "{range}"
        );
    }
    for (condition, status) in [("\"a\"", 206), ("\"b\"", 200), ("W/\"a\"", 200)] {
        let lines = format!("Range: bytes=0-1\r\nIf-Range: {condition}\r\n");
        assert_eq!(world.ask(&get("/", &lines)).await.status(), status, "{condition}");
    }
    assert_eq!(asked.count(), 1);
}

/// RFC 9110 §14.6.
async fn several_ranges_come_as_one_body_of_parts(tier: Tier) {
    let (upstream, _asked) =
        origin(|_, _| ok("Cache-Control: max-age=60\r\nContent-Type: text/plain\r\n", TEXT)).await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    let answer = world.ask(&get("/", "Range: bytes=0-1, 18-\r\n")).await;
    let kind = answer.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/20\r\n\r\n01\r\n\
         --{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 18-19/20\r\n\r\nij\r\n--{boundary}--\r\n"
    );
    assert_eq!((answer.status(), answer.text()), (206, expected));
}

/// An origin that knows ranges.
fn ranged(request: &banyan_testkit::upstream::Message) -> String {
    let lines = "Cache-Control: max-age=60\r\nETag: \"a\"\r\n";
    let range = request.header("range");
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return ok(lines, TEXT);
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let lines = format!("{lines}Content-Range: bytes {first}-{last}/20\r\n");
    answer("206 Partial Content", &lines, &TEXT[first..=last])
}

/// RFC 9111 §3.3, §3.4.
async fn parts_are_kept_put_together_and_completed(tier: Tier) {
    let (upstream, asked) = origin(|_, request| ranged(request)).await;
    let world = tier.world(&upstream, rfc()).await;
    let part = async |range: &str| {
        let answer = world.ask(&get("/", &format!("Range: bytes={range}\r\n"))).await;
        (answer.text(), answer.header("content-range"))
    };
    assert_eq!(part("0-4").await, ("01234".to_owned(), "bytes 0-4/20".to_owned()));
    // Wholly within what is here.
    assert_eq!(part("1-3").await.0, "123");
    assert_eq!(asked.count(), 1);
    assert_eq!(part("10-14").await.0, "abcde");
    assert_eq!(asked.count(), 2);
    // Of both, and what is between: only that is asked for.
    assert_eq!(part("3-11").await.0, "3456789ab");
    assert_eq!(
        (
            asked.last().header("range").as_str(),
            asked.last().header("if-range").as_str()
        ),
        ("bytes=5-9", "\"a\"")
    );
    let whole = world.get("/").await;
    assert_eq!((whole.status(), whole.text().as_str()), (200, TEXT));
    assert_eq!(
        (asked.last().header("range"), asked.count()),
        ("bytes=15-19".to_owned(), 4)
    );
    assert!(said(&world.get("/").await).starts_with("hit"));
}

/// RFC 9111 §3.4.
async fn a_part_of_something_else_meanwhile_is_not_mixed_in(tier: Tier) {
    let (upstream, asked) = origin(|n, request| match n {
        1 => ranged(request),
        _ => ok("Cache-Control: max-age=60\r\nETag: \"b\"\r\n", "entirely new"),
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    world.ask(&get("/", "Range: bytes=0-4\r\n")).await;
    assert_eq!(world.get("/").await.text(), "entirely new");
    assert_eq!(
        (world.get("/").await.text(), asked.count()),
        ("entirely new".to_owned(), 2)
    );
}
