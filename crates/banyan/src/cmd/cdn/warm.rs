//! `banyan cdn warm`, and what `[edge.cache.warm]` has a deploy do: asks the edges for URLs as a browser would, so that they have
//! them before users ask.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use banyan_tls::client::{Trust, connect};
use banyan_topology::Edge;
use http::Uri;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cli::cdn::Warm;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::{Context, ignore};
use crate::render::amount;
use crate::render::error::advised;

/// For one answer, to its end.
const LIMIT: Duration = Duration::from_secs(60);
/// More heads of answers are not read.
const HEAD: usize = 64 * 1024;
/// As browsers say it: what an app answers differently by it is stored as they will ask for it.
const CODINGS: &str = "gzip, deflate, br, zstd";
/// A deploy that has so many failures one after another asks for nothing more: whoever deploys waits for it.
const PATIENCE: usize = 10;

/// Where an edge takes requests of each scheme.
#[derive(Clone, Copy)]
struct Doors {
    http: SocketAddr,
    https: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    status: u16,
    said: String,
    bytes: u64,
}

#[derive(Default)]
struct Tally {
    /// Stored by this, and stored before.
    stored: u64,
    known: u64,
    bytes: u64,
    /// Answered, and not kept: by what the cache says of it.
    unkept: BTreeMap<String, Vec<String>>,
    failed: Vec<(String, String)>,
    /// Not asked for any more.
    left: usize,
}

pub(super) fn run(args: &Warm, context: &Context) -> anyhow::Result<Exit> {
    fetch(args, false, context)
}

/// `must`: what is not kept is a failure.
pub(super) fn fetch(args: &Warm, must: bool, context: &Context) -> anyhow::Result<Exit> {
    let urls = urls(args)?;
    anyhow::ensure!(
        !urls.is_empty(),
        "nothing to warm: name URLs, --sitemap or --manifest"
    );
    let tally = super::super::simple_runtime()?.block_on(async {
        let edge = edge(context).await?;
        if edge.settings.cache.is_none() {
            let help = "write `cache = {}` into [edge], then `banyan apply`";
            return Err(advised(anyhow::anyhow!("the edge has no cache to warm"), help));
        }
        Ok(warm(&urls, &doors(&edge), args.rate, usize::MAX, context).await)
    })?;
    if context.json {
        context.print_json(&tally.json())?;
    } else {
        context.print(&said(&tally))?;
    }
    Ok(if tally.failed.is_empty() && (!must || tally.unkept.is_empty()) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What `[edge.cache.warm]` names, once a new release serves. Whatever becomes of it, the deploy is done.
pub(in crate::cmd) async fn after_deploy(context: &Context) -> Option<Value> {
    match as_configured(context).await {
        Ok(tally) => {
            let tally = tally?;
            said(&tally).lines().for_each(|line| context.say(line));
            Some(tally.json())
        }
        Err(error) => {
            let note = context.paint_err.yellow("note:");
            context.say(&format!("{note} the caches were not warmed: {error:#}"));
            Some(json!({ "error": format!("{error:#}") }))
        }
    }
}

/// `None`: nothing is to be fetched.
async fn as_configured(context: &Context) -> anyhow::Result<Option<Tally>> {
    let edge = edge(context).await?;
    let wish = edge.settings.cache.as_ref().and_then(|cache| cache.warm.clone());
    let Some(wish) = wish else { return Ok(None) };
    let rate = wish.rate;
    let urls = urls(&Warm {
        urls: wish.urls,
        sitemap: wish.sitemap,
        manifest: wish.manifest,
        base: wish.base,
        rate,
    })?;
    let doors = doors(&edge);
    context.say(&format!(
        "the new release serves; caches fetch {} URLs, {rate} a second",
        urls.len()
    ));
    Ok(Some(warm(&urls, &doors, rate, PATIENCE, context).await))
}

async fn edge(context: &Context) -> anyhow::Result<Edge> {
    let status = Client::required(context).await?.status(context).await?;
    status.edge.context("no edge runs here")
}

/// Every edge of this machine.
fn doors(edge: &Edge) -> Vec<Doors> {
    let here = |address: SocketAddr| SocketAddr::new([127, 0, 0, 1].into(), address.port());
    let first = (edge.listen, edge.https);
    let others = edge.places.values().map(|place| (place.listen, place.https));
    let doors = std::iter::once(first).chain(others).map(|(http, https)| Doors {
        http: here(http),
        https: https.map(here),
    });
    doors.collect()
}

/// One after another: a cache is warmed beside users, not instead of them. After `patience` failures in a row the rest is left.
async fn warm(urls: &[Uri], edges: &[Doors], rate: u32, patience: usize, context: &Context) -> Tally {
    let (all, mut tally) = (urls.len() * edges.len(), Tally::default());
    let (mut pace, mut in_a_row) = (interval(Duration::from_secs(1) / rate.max(1)), 0);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let each = urls
        .iter()
        .flat_map(|url| edges.iter().map(move |edge| (url, *edge)));
    for (done, (url, edge)) in each.enumerate() {
        if in_a_row == patience {
            tally.left = all - done;
            break;
        }
        pace.tick().await;
        let failed = tally.failed.len();
        let got = timeout(LIMIT, get(url, edge)).await;
        let got = got.unwrap_or_else(|_| Err(anyhow::anyhow!("no whole answer within a minute")));
        tally.take(url.to_string(), got);
        in_a_row = if tally.failed.len() > failed {
            in_a_row + 1
        } else {
            0
        };
        if context.stderr_is_terminal {
            let line = format!("\r{} of {all} asked for, {} failed", done + 1, tally.failed.len());
            ignore(std::io::stderr().write_all(line.as_bytes()));
        }
    }
    if context.stderr_is_terminal {
        ignore(std::io::stderr().write_all(b"\r\x1b[K"));
    }
    tally
}

impl Tally {
    fn json(&self) -> Value {
        let failed = self.failed.iter();
        let failed: Vec<_> = failed
            .map(|(url, why)| json!({ "url": url, "why": why }))
            .collect();
        json!({
            "stored": self.stored, "known": self.known, "bytes": self.bytes, "not_kept": self.unkept, "failed": failed,
            "left": self.left
        })
    }

    fn take(&mut self, url: String, got: anyhow::Result<Got>) {
        let got = match got {
            Ok(got) if got.status < 400 => got,
            Ok(got) => return self.failed.push((url, format!("status {}", got.status))),
            Err(error) => return self.failed.push((url, format!("{error:#}"))),
        };
        self.bytes += got.bytes;
        let words: Vec<&str> = got.said.split(';').map(str::trim).collect();
        if words.contains(&"hit") {
            self.known += 1;
        } else if words.contains(&"stored") || words.contains(&"collapsed") {
            self.stored += 1;
        } else {
            let why = words.iter().find_map(|word| word.strip_prefix("detail="));
            let why = why.unwrap_or("the cache says nothing of it").to_owned();
            self.unkept.entry(why).or_default().push(url);
        }
    }
}

async fn get(url: &Uri, doors: Doors) -> anyhow::Result<Got> {
    let host = url.authority().context("the URL has no host")?;
    if url.scheme_str() == Some("https") {
        let door = doors.https.context("the edge speaks no TLS (edge.tls)")?;
        let stream = TcpStream::connect(door)
            .await
            .context("failed to connect to the edge")?;
        // The edge of this machine, by its own address: whom its certificate names does not matter.
        let stream = connect(stream, host.host(), Trust::Anybody, &["http/1.1"]).await?;
        return ask(stream, url, host.as_str()).await;
    }
    let stream = TcpStream::connect(doors.http)
        .await
        .context("failed to connect to the edge")?;
    ask(stream, url, host.as_str()).await
}

/// HTTP/1.1, one request: the answer ends with the connection.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, url: &Uri, host: &str) -> anyhow::Result<Got> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: banyan-warm\r\nAccept: */*\r\nAccept-Encoding: {CODINGS}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        anyhow::ensure!(head.len() < HEAD, "the head of the answer is too long");
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "the answer broke off");
    };
    let mut got = judged(&String::from_utf8_lossy(&head[..end]))?;
    got.bytes = (head.len() - end - 4) as u64;
    let mut piece = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return Ok(got),
            Ok(count) => got.bytes += count as u64,
            // Without a goodbye of TLS: the length is not judged here, the edge has the answer whole.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(got),
            Err(error) => return Err(error.into()),
        }
    }
}

fn judged(head: &str) -> anyhow::Result<Got> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let said = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("cache-status"));
    // What the nearest cache says comes last.
    let said = said.last().and_then(|(_, value)| value.rsplit(',').next());
    Ok(Got {
        status: status.context("the answer is not HTTP")?,
        said: said.unwrap_or_default().trim().to_owned(),
        bytes: 0,
    })
}

fn said(tally: &Tally) -> String {
    let mut out = format!(
        "{} stored, {} were there, {}\n",
        tally.stored,
        tally.known,
        amount::bytes(tally.bytes)
    );
    for (why, urls) in &tally.unkept {
        out.push_str(&format!("{} not kept ({why}): {}", urls.len(), urls[0]));
        out.push_str(if urls.len() > 1 { ", …\n" } else { "\n" });
    }
    for (url, why) in &tally.failed {
        out.push_str(&format!("failed: {url}: {why}\n"));
    }
    if tally.left > 0 {
        out.push_str(&format!(
            "{} not asked for: too many failed one after another\n",
            tally.left
        ));
    }
    if !tally.unkept.is_empty() {
        out.push_str("`banyan cdn explain URL` says what would have it kept\n");
    }
    out
}

fn urls(args: &Warm) -> anyhow::Result<Vec<Uri>> {
    let mut texts = args.urls.clone();
    if let Some(path) = &args.sitemap {
        texts.extend(of_sitemap(&read(path)?)?);
    }
    if let Some(path) = &args.manifest {
        texts
            .extend(of_manifest(&read(path)?).with_context(|| format!("{} is no manifest", path.display()))?);
    }
    texts
        .iter()
        .map(|text| whole(text, args.base.as_deref()))
        .collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

fn whole(text: &str, base: Option<&str>) -> anyhow::Result<Uri> {
    let is_whole = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    let text = match base {
        _ if is_whole(text) => text.to_owned(),
        Some(base) if is_whole(base) => {
            format!("{}/{}", base.trim_end_matches('/'), text.trim_start_matches('/'))
        }
        _ => {
            let help = "write whole URLs, or where they are: --base https://shop.example";
            return Err(advised(anyhow::anyhow!("`{text}` has no scheme and host"), help));
        }
    };
    let url: Uri = text.parse().with_context(|| format!("`{text}` is no URL"))?;
    anyhow::ensure!(url.host().is_some(), "`{text}` has no host");
    Ok(url)
}

/// Locations of <https://www.sitemaps.org/protocol.html>, one file of URLs.
fn of_sitemap(text: &str) -> anyhow::Result<Vec<String>> {
    anyhow::ensure!(
        !text.contains("<sitemapindex"),
        "this sitemap lists other sitemaps: warm those one by one"
    );
    let found = text
        .split("<loc>")
        .skip(1)
        .filter_map(|rest| rest.split("</loc>").next());
    let plain = |text: &str| {
        let text = text.trim();
        let pairs = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&apos;", "'"),
            ("&amp;", "&"),
        ];
        pairs
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    Ok(found.map(plain).collect())
}

/// What bundlers write: names to files, or names to tables with `file`, `css` and `assets` (webpack, Vite, Rails).
fn of_manifest(text: &str) -> anyhow::Result<Vec<String>> {
    let manifest: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    let mut files = Vec::new();
    for value in manifest.values() {
        match value {
            Value::String(file) => files.push(file.clone()),
            Value::Object(entry) => {
                for key in ["file", "css", "assets"] {
                    match entry.get(key) {
                        Some(Value::String(file)) => files.push(file.clone()),
                        Some(Value::Array(list)) => {
                            files.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_found_in_sitemaps_and_manifests() {
        let sitemap =
            "<urlset><url><loc> https://a.example/?x=1&amp;y=2 </loc></url><url><loc>/b</loc></url></urlset>";
        assert_eq!(of_sitemap(sitemap).unwrap(), ["https://a.example/?x=1&y=2", "/b"]);
        assert!(of_sitemap("<sitemapindex/>").is_err());
        let vite = r#"{"main.ts": {"file": "assets/main.1a2b.js", "css": ["assets/main.3c4d.css"]}, "logo.svg": "/logo.5e6f.svg"}"#;
        assert_eq!(
            of_manifest(vite).unwrap(),
            ["/logo.5e6f.svg", "assets/main.1a2b.js", "assets/main.3c4d.css"]
        );
        let at = |text| whole(text, Some("https://a.example/app/")).map(|url| url.to_string());
        assert_eq!(at("/b.js").unwrap(), "https://a.example/app/b.js");
        assert_eq!(at("http://c.example/d").unwrap(), "http://c.example/d");
        assert!(whole("/b.js", None).is_err());
    }

    #[test]
    fn an_answer_counts_by_what_the_nearest_cache_says() {
        let mut tally = Tally::default();
        for (status, said) in [
            (
                200,
                "\"shield\"; hit, \"banyan-edge\"; fwd=uri-miss; stored; ttl=60",
            ),
            (200, "\"banyan-edge\"; hit; ttl=59"),
            (200, "\"banyan-edge\"; fwd=uri-miss; detail=private"),
            (404, ""),
        ] {
            let head = format!("HTTP/1.1 {status} X\r\nCache-Status: {said}\r\nAge: 0");
            tally.take("/x".to_owned(), judged(&head));
        }
        assert_eq!((tally.stored, tally.known, tally.failed.len()), (1, 1, 1));
        assert_eq!(tally.unkept.keys().collect::<Vec<_>>(), ["private"]);
    }
}
