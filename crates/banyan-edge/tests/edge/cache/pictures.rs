//! Pictures in other sizes and formats: what clients get, what the origin is asked, what stays as it is.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banyan_config::{Cache, CacheRule, PictureFormat, Pictures};
use banyan_testkit::upstream::{Message, Upstream, Wire};

use banyan_topology::sight::{Answer, Question};

use super::sight::ask;
use super::{get, rule, safe, world};
use crate::world::{World, post};

const WEBP: &str = "Accept: image/webp,*/*\r\n";

/// Noise, which no format makes small without making it smaller.
fn png(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut rows = Vec::new();
    let mut state = seed | 1;
    for _ in 0..height {
        rows.extend_from_slice(&[0]);
        for _ in 0..width * 3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            rows.push((state >> 24) as u8);
        }
    }
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&rows).unwrap();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", header),
        (b"IDAT", packed.finish().unwrap()),
        (b"IEND", Vec::new()),
    ] {
        let chunk = [&kind[..], &data].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&chunk);
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(chunk);
        file.extend(sum.sum().to_be_bytes());
    }
    file
}

/// Width and height of a PNG, JPEG (with all of its picture in one frame) or WebP.
fn size(file: &[u8]) -> (u32, u32) {
    let big = |at: usize, n: usize| file[at..at + n].iter().fold(0, |all, b| all << 8 | u32::from(*b));
    match file {
        [0x89, ..] => (big(16, 4), big(20, 4)),
        [0xFF, 0xD8, ..] => {
            let frame = file
                .windows(2)
                .position(|two| [[0xFF, 0xC0], [0xFF, 0xC2]].contains(&[two[0], two[1]]));
            let frame = frame.unwrap();
            (big(frame + 7, 2), big(frame + 5, 2))
        }
        _ => {
            let little = |at: usize| u32::from(file[at]) | u32::from(file[at + 1] & 0x3F) << 8;
            assert_eq!(&file[12..15], b"VP8");
            (little(26), little(28))
        }
    }
}

struct Site {
    world: World,
    asked: Arc<Mutex<Vec<String>>>,
    /// Which picture the app has now.
    seed: Arc<AtomicUsize>,
    _upstream: Upstream,
}

impl Site {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn get(&self, path: &str, more: &str) -> Message {
        let answer = self.world.ask(&get(path, more)).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }
}

/// `/img/…` in other sizes; the answer's further lines and its body are those of `what`.
async fn site(what: impl Fn(&str, u32) -> (&'static str, Vec<u8>) + Clone + Send + Sync + 'static) -> Site {
    let (asked, seed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(1)));
    let (noted, current) = (Arc::clone(&asked), Arc::clone(&seed));
    let upstream = Upstream::start(move |mut wire: Wire| {
        let (what, noted, current) = (what.clone(), Arc::clone(&noted), Arc::clone(&current));
        async move {
            while let Some(request) = wire.message().await {
                noted.lock().unwrap().push(request.start.clone());
                let seed = current.load(Ordering::Relaxed);
                let (lines, body) = what(request.target(), u32::try_from(seed).unwrap());
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nETag: \"v{seed}\"\r\n{lines}Content-Length: {length}\r\n\r\n"
                );
                wire.send([head.as_bytes(), &body].concat()).await;
            }
        }
    })
    .await;
    let pictures = Pictures {
        widths: vec![16, 32, 640],
        quality: 85,
        formats: vec![PictureFormat::Avif, PictureFormat::Webp, PictureFormat::Jpeg],
    };
    let cache = Cache {
        rules: vec![CacheRule {
            image: Some(pictures),
            ..rule("/img/*")
        }],
        ..safe()
    };
    Site {
        world: world(&upstream, cache).await,
        asked,
        seed,
        _upstream: upstream,
    }
}

const PUBLIC: &str = "Content-Type: image/png\r\nCache-Control: public, max-age=600\r\n";

async fn public() -> Site {
    site(|_, seed| (PUBLIC, png(64, 32, seed))).await
}

#[tokio::test]
async fn a_picture_is_made_once_in_the_size_and_format_that_is_wanted() {
    let site = public().await;
    let small = site.get("/img/a.png?w=20&v=1", WEBP).await;
    assert_eq!(small.header("content-type"), "image/webp");
    assert_eq!(
        (small.header("vary").as_str(), small.header("etag").as_str()),
        ("Accept", "\"v1~w32q85webp\"")
    );
    assert_eq!(size(&small.body), (32, 16));
    let again = site.get("/img/a.png?v=1&w=32", WEBP).await;
    assert!(again.header("cache-status").starts_with("\"banyan-edge\"; hit"));
    assert_eq!(again.body, small.body);
    let other = site.get("/img/a.png?w=16&v=1", "Accept: image/*,*/*\r\n").await;
    assert_eq!(
        (other.header("content-type").as_str(), size(&other.body)),
        ("image/jpeg", (16, 8))
    );
    let named = site.get("/img/a.png?w=9999&v=1&fmt=webp&q=3", "").await;
    assert_eq!((named.header("vary").as_str(), size(&named.body)), ("", (64, 32)));
    assert_eq!(site.asked(), ["GET /img/a.png?v=1 HTTP/1.1"]);
    // Whoever has it is told so.
    let known = format!("{WEBP}If-None-Match: {}\r\n", small.header("etag"));
    assert_eq!(
        site.world.ask(&get("/img/a.png?w=32&v=1", &known)).await.status(),
        304
    );
    let mut client = site.world.client().await;
    client
        .send(get("/img/a.png?w=32&v=1", WEBP).replace("GET", "HEAD"))
        .await;
    let head = client.head().await.unwrap();
    assert_eq!(head.header("content-length"), small.body.len().to_string());
}

#[tokio::test]
async fn what_is_made_and_what_is_left_is_counted() {
    let site = site(|path, seed| match path {
        "/img/a.png" => (PUBLIC, png(64, 32, seed)),
        _ => (PUBLIC, b"no picture".to_vec()),
    })
    .await;
    for path in ["/img/a.png?w=32", "/img/a.png?w=32", "/img/broken.png?w=32"] {
        site.get(path, WEBP).await;
    }
    let Answer::Stats(stats) = ask(&site.world, &Question::Stats).await else {
        panic!("no numbers");
    };
    let pictures = stats.pictures.unwrap();
    assert_eq!((pictures.made["webp"], pictures.made["jpeg"]), (1, 0));
    assert!(pictures.unmade > 0 && pictures.busy == 0, "{pictures:?}");
    assert!(pictures.made_bytes > 0 && pictures.made_bytes < pictures.original_bytes);
}

#[tokio::test]
async fn without_a_wish_everybody_gets_the_picture_as_it_is() {
    let site = public().await;
    for _ in 0..2 {
        let whole = site.get("/img/a.png", "Accept: */*\r\n").await;
        assert_eq!(
            (whole.header("etag").as_str(), whole.body == png(64, 32, 1)),
            ("\"v1\"", true)
        );
        assert_eq!(whole.header("vary"), "Accept, Sec-CH-Width, Width");
    }
    let hinted = site.get("/img/a.png", "Sec-CH-Width: 30\r\n").await;
    assert_eq!(size(&hinted.body), (32, 16));
    assert_eq!(site.asked().len(), 1);
}

#[tokio::test]
async fn many_at_once_cost_the_app_one_request_and_the_cores_one_picture() {
    let site = public().await;
    let path = get("/img/a.png?w=32", WEBP);
    let answers: Vec<_> = (0..20).map(|_| site.world.ask(&path)).collect();
    let mut bodies = Vec::new();
    for answer in futures_all(answers).await {
        assert_eq!(
            (answer.status(), answer.header("content-type").as_str()),
            (200, "image/webp")
        );
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!((bodies.len(), site.asked().len()), (1, 1));
}

/// All of them, whatever order they end in.
async fn futures_all<F: Future<Output = Message>>(all: Vec<F>) -> Vec<Message> {
    let mut all: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, answer) in all.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let std::task::Poll::Ready(message) = future.as_mut().poll(cx) {
                *answer = Some(message);
            }
        }
        if all.iter().all(|(_, answer)| answer.is_some()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    all.into_iter().filter_map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn avif_comes_behind_the_clients_back_and_webp_answers_meanwhile() {
    let site = public().await;
    let accepts = "Accept: image/avif,image/webp\r\n";
    let first = site.get("/img/a.png?w=16", accepts).await;
    assert_eq!(first.header("content-type"), "image/webp");
    let better = async {
        loop {
            let answer = site.get("/img/a.png?w=16", accepts).await;
            if answer.header("content-type") == "image/avif" {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let better = tokio::time::timeout(Duration::from_secs(60), better)
        .await
        .expect("no AVIF");
    assert_eq!(&better.body[4..12], b"ftypavif");
    assert_eq!(
        site.get("/img/a.png?w=16", WEBP).await.header("content-type"),
        "image/webp"
    );
}

#[tokio::test]
async fn what_is_changed_or_purged_takes_what_was_made_of_it_along() {
    let site = public().await;
    let old = site.get("/img/a.png?w=32", WEBP).await;
    site.seed.store(2, Ordering::Relaxed);
    assert_eq!(site.get("/img/a.png?w=32", WEBP).await.body, old.body);
    assert_eq!(site.world.ask(&post("/img/a.png", "new")).await.status(), 200);
    let new = site.get("/img/a.png?w=32", WEBP).await;
    assert_eq!(new.header("etag"), "\"v2~w32q85webp\"");
    assert_ne!(new.body, old.body);
}

#[tokio::test]
async fn what_cannot_be_made_passes_as_it_is() {
    let broken = b"\x89PNG\r\n\x1a\nthis is none".to_vec();
    let bomb = {
        let mut file = png(1, 1, 1);
        file[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
        file
    };
    let (one, two) = (broken.clone(), bomb.clone());
    let site = site(move |path, seed| match path {
        "/img/broken" => (PUBLIC, one.clone()),
        "/img/bomb" => (PUBLIC, two.clone()),
        "/img/page" => (
            "Content-Type: text/html\r\nCache-Control: max-age=60\r\n",
            b"<p>".to_vec(),
        ),
        "/img/as-is" => (
            "Content-Type: image/png\r\nCache-Control: max-age=60, no-transform\r\n",
            png(64, 32, seed),
        ),
        _ => (
            "Content-Type: image/png\r\nCache-Control: private\r\n",
            png(64, 32, seed),
        ),
    })
    .await;
    for (path, body) in [
        ("/img/broken", broken),
        ("/img/bomb", bomb),
        ("/img/page", b"<p>".to_vec()),
        ("/img/as-is", png(64, 32, 1)),
        ("/img/private", png(64, 32, 1)),
    ] {
        for _ in 0..2 {
            assert_eq!(site.get(&format!("{path}?w=16"), WEBP).await.body, body, "{path}");
        }
    }
    let private = site
        .asked()
        .iter()
        .filter(|line| line.contains("private"))
        .count();
    assert_eq!(private, 2, "what nobody else may have is not kept");
}
