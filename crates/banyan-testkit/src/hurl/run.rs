//! Sends the requests of a script one after another and judges the answers.

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;

use super::client::Client;
use super::parse::{Capture, Entry, ParseError, Script, parse};
use super::value::Variables;

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub files: usize,
    pub requests: usize,
    /// Statuses, captures and asserts.
    pub checks: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            files,
            requests,
            checks,
        } = self;
        write!(f, "{requests} requests in {files} files, {checks} checks")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("failed to read {file}: {source}")]
    Read {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{file}:{line}: expected {expected}\n  got {got}")]
    Unexpected {
        file: String,
        line: usize,
        expected: String,
        got: String,
    },
}

/// Runs every `*.hurl` file of `folder` in the order of names against `base` (`http://host:port`).
///
/// `uid` makes the names of users and posts unique to this run.
pub async fn run_folder(folder: &Path, base: &str, uid: &str) -> Result<Report, Failure> {
    let read_error = |file: &Path| {
        let file = file.display().to_string();
        |source| Failure::Read { file, source }
    };
    let mut files = std::fs::read_dir(folder)
        .map_err(read_error(folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(read_error(folder))?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "hurl"));
    files.sort();
    let variables = Variables::default().with("host", base).with("uid", uid);
    let mut total = Report::default();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(read_error(&path))?;
        let script = parse(&path.display().to_string(), &text)?;
        let report = run(&script, base, variables.clone()).await?;
        total.files += report.files;
        total.requests += report.requests;
        total.checks += report.checks;
    }
    Ok(total)
}

/// Stops at the first thing that is not as the script says.
pub async fn run(script: &Script, base: &str, mut variables: Variables) -> Result<Report, Failure> {
    let at = |line: usize, expected: String| {
        let file = script.name.clone();
        move |got: String| Failure::Unexpected {
            file,
            line,
            expected,
            got,
        }
    };
    let mut client = Client::new(base).map_err(at(1, "an address".to_owned()))?;
    let mut report = Report {
        files: 1,
        ..Report::default()
    };
    for entry in &script.entries {
        let sent = at(
            entry.line,
            format!("{} {} to be answered", entry.method, entry.url),
        );
        let answer = match request(entry, &variables) {
            Ok(request) => client.send(request).await.map_err(sent)?,
            Err(problem) => return Err(sent(problem)),
        };
        report.requests += 1;
        judge(entry, &answer, &mut variables)
            .map_err(|wrong| at(wrong.line, wrong.expected)(wrong.got + &shown(&answer)))?;
        report.checks += 1 + entry.captures.len() + entry.asserts.len();
    }
    Ok(report)
}

struct Wrong {
    line: usize,
    expected: String,
    got: String,
}

fn request(entry: &Entry, variables: &Variables) -> Result<Request<Full<Bytes>>, String> {
    let url = variables.fill(&entry.url)?;
    let uri: http::Uri = url.parse().map_err(|error| format!("a bad URL {url}: {error}"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(entry.method.as_str()).uri(path);
    for (name, value) in &entry.headers {
        request = request.header(name, variables.fill(value)?);
    }
    let body = match &entry.body {
        Some(body) => {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
            variables.fill(body)?
        }
        None => String::new(),
    };
    request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())
}

fn judge(entry: &Entry, answer: &Response<Bytes>, variables: &mut Variables) -> Result<(), Wrong> {
    let status = answer.status().as_u16();
    if status != entry.status.code {
        return Err(Wrong {
            line: entry.status.line,
            expected: format!("status {}", entry.status.code),
            got: format!("status {status}"),
        });
    }
    if entry.captures.is_empty() && entry.asserts.is_empty() {
        return Ok(());
    }
    let json: Value = serde_json::from_slice(answer.body()).map_err(|error| Wrong {
        line: entry.line,
        expected: "a JSON answer".to_owned(),
        got: error.to_string(),
    })?;
    // As in Hurl: an assert may use what its own answer captured.
    for Capture { line, name, path } in &entry.captures {
        let value = path.find(&json).ok_or_else(|| Wrong {
            line: *line,
            expected: format!("a value at {} to capture as {name}", path.text),
            got: "nothing there".to_owned(),
        })?;
        variables.set(name, value.clone());
    }
    for assert in &entry.asserts {
        assert.check(&json, variables).map_err(|got| Wrong {
            line: assert.line,
            expected: assert.text.clone(),
            got,
        })?;
    }
    Ok(())
}

fn shown(answer: &Response<Bytes>) -> String {
    let body: String = String::from_utf8_lossy(answer.body()).chars().take(600).collect();
    format!("\n  in the answer {}: {body}", answer.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers each request, on whatever connection, with the next of `answers` (status and body); then closes.
    async fn serve(listener: TcpListener, answers: &[(&str, &str)], close_each: bool) -> Vec<String> {
        let mut seen = Vec::new();
        let mut stream = None;
        for (status, body) in answers {
            let mut open = match stream.take() {
                Some(open) => open,
                None => listener.accept().await.unwrap().0,
            };
            let mut request = Vec::new();
            while !complete(&request) {
                let mut chunk = [0; 4096];
                let read = open.read(&mut chunk).await.unwrap();
                assert!(read > 0, "the client closed in the middle of a request");
                request.extend_from_slice(&chunk[..read]);
            }
            seen.push(String::from_utf8(request).unwrap());
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            open.write_all(head.as_bytes()).await.unwrap();
            stream = (!close_each).then_some(open);
        }
        seen
    }

    fn complete(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        body.len() >= length.unwrap_or(0)
    }

    async fn play(
        text: &str,
        answers: &[(&str, &str)],
        close_each: bool,
    ) -> (Result<Report, Failure>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script = parse("play.hurl", text).unwrap();
        let variables = Variables::default().with("host", base.as_str()).with("uid", "u1");
        tokio::join!(
            run(&script, &base, variables),
            serve(listener, answers, close_each)
        )
    }

    const TWO: &str = r#"POST {{host}}/login
{"name": "{{uid}}"}
HTTP 201
[Captures]
token: jsonpath "$.token"

GET {{host}}/me?a=1
Authorization: Token {{token}}
HTTP 200
[Asserts]
jsonpath "$.id" == 7
"#;

    #[tokio::test]
    async fn captures_reach_the_next_request_and_everything_is_counted() {
        for close_each in [false, true] {
            let answers = [("201 Created", r#"{"token": "t0"}"#), ("200 OK", r#"{"id": 7}"#)];
            let (report, seen) = play(TWO, &answers, close_each).await;
            let wanted = Report {
                files: 1,
                requests: 2,
                checks: 4,
            };
            assert_eq!(report.unwrap(), wanted);
            assert!(
                seen[0].starts_with("POST /login HTTP/1.1\r\n") && seen[0].contains(r#"{"name": "u1"}"#),
                "{}",
                seen[0]
            );
            assert!(
                seen[1].starts_with("GET /me?a=1 HTTP/1.1\r\n") && seen[1].contains(": Token t0"),
                "{}",
                seen[1]
            );
        }
    }

    #[tokio::test]
    async fn a_wrong_answer_names_file_line_expected_and_got() {
        let created = ("201 Created", r#"{"token": "t0"}"#);
        type Case<'a> = (&'a [(&'a str, &'a str)], usize, &'a str, &'a str);
        let wrong: [Case<'_>; 5] = [
            (&[("500 Oops", "boom")], 3, "status 201", "status 500"),
            (&[("201 Created", "<html>")], 1, "a JSON answer", "expected value"),
            (&[("201 Created", "{}")], 5, "$.token", "nothing there"),
            (&[created, ("200 OK", r#"{"id": 8}"#)], 11, "== 7", "8"),
            (&[created, ("200 OK", "{}")], 11, "== 7", "nothing there"),
        ];
        for (answers, wanted_line, wanted, found) in wrong {
            let (result, _) = play(TWO, answers, false).await;
            let failure = result.unwrap_err();
            let Failure::Unexpected {
                file,
                line,
                expected,
                got,
            } = &failure
            else {
                panic!("{failure}")
            };
            assert_eq!((file.as_str(), *line), ("play.hurl", wanted_line), "{failure}");
            assert!(expected.contains(wanted) && got.contains(found), "{failure}");
        }
    }

    #[tokio::test]
    async fn no_server_is_a_failure() {
        let port = crate::Port::free();
        let base = format!("http://127.0.0.1:{}", port.number());
        let script = parse("none.hurl", "GET {{host}}/\nHTTP 200").unwrap();
        let failure = run(&script, &base, Variables::default().with("host", base.as_str())).await;
        assert!(failure.unwrap_err().to_string().contains("failed to connect"));
    }

    #[test]
    fn the_realworld_suite_is_understood_in_full() {
        let Some(suite) = super::super::realworld_suite() else {
            eprintln!("skipped: the RealWorld suite is not beside the project (../shared/spec/realworld)");
            return;
        };
        let mut requests = Vec::new();
        for entry in std::fs::read_dir(suite).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "hurl") {
                let script = parse(
                    &path.display().to_string(),
                    &std::fs::read_to_string(&path).unwrap(),
                );
                requests.push(script.unwrap().entries.len());
            }
        }
        assert_eq!((requests.len(), requests.iter().sum::<usize>()), (13, 154));
    }
}
