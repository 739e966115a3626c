//! `banyan cdn push`: puts the files of a folder into every edge's cache, or has every edge fetch a list of URLs, and says which
//! edge has taken what.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use banyan_topology::sight::{Answer, Push, Question};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::sight::{ask_one, sockets};
use super::warm;
use crate::cli::cdn::{Push as Args, Warm};
use crate::exit::Exit;
use crate::output::{Context, ignore};
use crate::render::amount;
use crate::render::error::advised;

/// For an edge to take one file, which may be long.
const LIMIT: Duration = Duration::from_secs(120);

/// What one edge has taken.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Taken {
    edge: String,
    pid: u32,
    files: u64,
    bytes: u64,
    failed: Vec<Failed>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Failed {
    url: String,
    why: String,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if args.source.is_dir() {
        return folder(args, context);
    }
    if args.cache_control.is_some() {
        let help = "leave --cache-control out: the app's own answers, or rules with `ttl`, say how long they are kept";
        return Err(advised(
            anyhow::anyhow!("a list of URLs is fetched from the app"),
            help,
        ));
    }
    // Fetched by each edge: a URL that is not kept there afterwards is a failure.
    let text = fs::read_to_string(&args.source)
        .with_context(|| format!("failed to read {}", args.source.display()))?;
    let lines = text.lines().map(str::trim);
    let urls: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let warm = Warm {
        urls,
        sitemap: None,
        manifest: None,
        base: args.base.clone(),
        rate: args.rate,
    };
    warm::fetch(&warm, true, context)
}

fn folder(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let Some(base) = &args.base else {
        let help = "write where its files are asked for: --base https://shop.example/assets";
        return Err(advised(anyhow::anyhow!("a folder has no URLs of its own"), help));
    };
    if base.contains(['?', '#']) {
        let help = "names of files are put behind it: leave `?` and `#`, and what follows them, out";
        return Err(advised(
            anyhow::anyhow!("--base {base} is more than scheme, host and path"),
            help,
        ));
    }
    let files = pushes(&args.source, base, args.cache_control.as_deref())?;
    anyhow::ensure!(!files.is_empty(), "{} has no files", args.source.display());
    let sockets = sockets(&context.place.state()?.cdn());
    let taken = super::super::simple_runtime()?.block_on(push(&files, &sockets, args.rate, context));
    if taken.is_empty() {
        let help =
            "`cache = {}` in [edge] and `banyan apply` give the edge a cache; `banyan status` says what runs";
        return Err(advised(anyhow::anyhow!("no edge with a cache runs here"), help));
    }
    if context.json {
        context.print_json(&json!({ "files": files.len(), "edges": taken }))?;
    } else {
        context.print(&taken.iter().map(said).collect::<String>())?;
    }
    Ok(if taken.iter().all(|edge| edge.failed.is_empty()) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// One edge after the other, each file once. Edges that do not answer at all have ended.
async fn push(files: &[Push], sockets: &[PathBuf], rate: u32, context: &Context) -> Vec<Taken> {
    let mut all = Vec::new();
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for socket in sockets {
        let mut taken = Taken::default();
        for (done, file) in files.iter().enumerate() {
            pace.tick().await;
            let question = Question::Push(Box::new(file.clone()));
            let answer = timeout(LIMIT, ask_one(socket, &question)).await;
            match answer.ok().flatten() {
                // Left behind by an edge that was killed, or about to end.
                None if taken == Taken::default() => break,
                answer => taken.take(file, answer),
            }
            if context.stderr_is_terminal {
                let line = format!("\r{}: {} of {} files", taken.edge, done + 1, files.len());
                ignore(std::io::stderr().write_all(line.as_bytes()));
            }
        }
        if taken != Taken::default() {
            all.push(taken);
        }
    }
    if context.stderr_is_terminal {
        ignore(std::io::stderr().write_all(b"\r\x1b[K"));
    }
    all
}

impl Taken {
    fn take(&mut self, file: &Push, answer: Option<Answer>) {
        let why = match answer {
            Some(Answer::Pushed { edge, pid, .. }) => {
                (self.edge, self.pid) = (edge, pid);
                self.files += 1;
                self.bytes += file.bytes;
                return;
            }
            Some(Answer::Refused { why }) => why,
            Some(Answer::NoCache) => "this edge keeps nothing".to_owned(),
            Some(_) | None => "no answer".to_owned(),
        };
        let url = file.url.clone();
        self.failed.push(Failed { url, why });
    }
}

fn said(taken: &Taken) -> String {
    let name = if taken.edge.is_empty() {
        "an edge"
    } else {
        &taken.edge
    };
    let mut out = format!("{name}: {} files, {}\n", taken.files, amount::bytes(taken.bytes));
    for Failed { url, why } in &taken.failed {
        out.push_str(&format!("  failed: {url}: {why}\n"));
    }
    out
}

/// Every file below the folder but hidden ones, in order.
fn pushes(folder: &Path, base: &str, cache_control: Option<&str>) -> anyhow::Result<Vec<Push>> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("failed to read {}", folder.display()))?;
    let mut paths = Vec::new();
    walk(&folder, &mut paths)?;
    paths.sort();
    let push = |path: &PathBuf| -> anyhow::Result<Push> {
        let (sha256, bytes) = digest(path).with_context(|| format!("failed to read {}", path.display()))?;
        let modified = fs::metadata(path)?.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let below = path.strip_prefix(&folder)?.as_os_str().as_bytes();
        let url = format!("{}/{}", base.trim_end_matches('/'), encoded(below));
        banyan_topology::purge::Scope::Url(url.clone())
            .check()
            .map_err(|why| anyhow::anyhow!(why))?;
        Ok(Push {
            url,
            file: path.clone(),
            sha256,
            bytes,
            modified: modified.and_then(|since| i64::try_from(since.as_secs()).ok()),
            cache_control: cache_control.map(str::to_owned),
        })
    };
    paths.iter().map(push).collect()
}

/// And how many bytes there are, which may be more than the memory holds.
fn digest(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = fs::File::open(path)?;
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        digest.update(&piece[..count]);
        bytes += count as u64;
    }
    let digest = digest.finalize();
    Ok((digest.iter().map(|byte| format!("{byte:02x}")).collect(), bytes))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // What links lead to is not of this folder.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// As browsers ask for it (RFC 3986 §3.3).
fn encoded(path: &[u8]) -> String {
    let mut out = String::new();
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_the_urls_that_browsers_ask_for_and_hidden_ones_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("css/.git")).unwrap();
        for name in ["a b.txt", "css/ä.css", "css/.hidden", "css/.git/x"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let pushes = pushes(dir.path(), "https://shop.example/assets/", Some("max-age=60")).unwrap();
        let urls: Vec<&str> = pushes.iter().map(|push| push.url.as_str()).collect();
        let expected = [
            "https://shop.example/assets/a%20b.txt",
            "https://shop.example/assets/css/%C3%A4.css",
        ];
        assert_eq!(urls, expected);
        assert_eq!((pushes[0].bytes, pushes[0].sha256.len()), (7, 64));
        assert!(super::pushes(dir.path(), "shop.example", None).is_err());
    }

    #[test]
    fn an_edge_counts_what_it_took_and_names_what_it_did_not() {
        let file = Push {
            url: "https://a.example/x".to_owned(),
            file: PathBuf::from("/x"),
            sha256: String::new(),
            bytes: 2048,
            modified: None,
            cache_control: None,
        };
        let mut taken = Taken::default();
        taken.take(
            &file,
            Some(Answer::Pushed {
                edge: "edge 7".to_owned(),
                pid: 7,
                ttl_s: 60,
            }),
        );
        let why = "its rule says store = false".to_owned();
        taken.take(&file, Some(Answer::Refused { why }));
        assert_eq!(
            said(&taken),
            "edge 7: 1 files, 2 KiB\n  failed: https://a.example/x: its rule says store = false\n"
        );
    }
}
