//! Text to entries: request line, headers, JSON body, status, `[Captures]` and `[Asserts]`.

use super::expect::{Expectation, query};
use super::value::JsonPath;

/// One file.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub entries: Vec<Entry>,
}

/// One request and what its answer must be.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the request stands, from 1.
    pub line: usize,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
    pub(super) status: Status,
    pub(super) captures: Vec<Capture>,
    pub(super) asserts: Vec<Expectation>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) line: usize,
    pub(super) code: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Capture {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) path: JsonPath,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ParseError {
    pub file: String,
    pub line: usize,
    pub problem: String,
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub fn parse(name: &str, text: &str) -> Result<Script, ParseError> {
    let mut lines = Lines::new(text);
    let mut entries = Vec::new();
    while lines.skip_blank() {
        let entry = entry(&mut lines).map_err(|problem| ParseError {
            file: name.to_owned(),
            line: lines.number(),
            problem,
        })?;
        entries.push(entry);
    }
    Ok(Script {
        name: name.to_owned(),
        entries,
    })
}

fn entry(lines: &mut Lines<'_>) -> Result<Entry, String> {
    let (line, request) = lines.next().ok_or("a request is missing")?;
    let (method, url) = method_of(request).ok_or_else(|| format!("expected a request, found `{request}`"))?;
    let headers = headers(lines)?;
    let body = body(lines)?;
    let status = status(lines)?;
    let mut entry = Entry {
        line,
        method,
        url,
        headers,
        body,
        status,
        captures: Vec::new(),
        asserts: Vec::new(),
    };
    sections(lines, &mut entry)?;
    Ok(entry)
}

fn method_of(line: &str) -> Option<(String, String)> {
    let (method, url) = line.split_once(' ')?;
    METHODS
        .contains(&method)
        .then(|| (method.to_owned(), url.trim().to_owned()))
}

fn headers(lines: &mut Lines<'_>) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    while lines.skip_blank() {
        let text = lines.peek().unwrap_or_default();
        if text.starts_with('{') || text.starts_with("HTTP") {
            break;
        }
        lines.next();
        let (name, value) = text
            .split_once(':')
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
            .ok_or_else(|| format!("expected a header, a JSON object or HTTP, found `{text}`"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(headers)
}

/// A JSON object: from the line `{` to the line `}` at the same depth, templates still inside.
fn body(lines: &mut Lines<'_>) -> Result<Option<String>, String> {
    if !lines.peek().is_some_and(|text| text.starts_with('{')) {
        return Ok(None);
    }
    let mut body = String::new();
    while let Some((_, text)) = lines.next_raw() {
        body.push_str(text);
        body.push('\n');
        // A template is legal inside a JSON text only, so the body parses before it is filled.
        if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok() {
            return Ok(Some(body));
        }
    }
    Err("the JSON body does not end".to_owned())
}

fn status(lines: &mut Lines<'_>) -> Result<Status, String> {
    lines.skip_blank();
    let (line, text) = lines.next().ok_or("expected HTTP and a status, found the end")?;
    let code = text
        .strip_prefix("HTTP ")
        .and_then(|code| code.trim().parse().ok());
    let code = code.ok_or_else(|| format!("expected HTTP and a status, found `{text}`"))?;
    Ok(Status { line, code })
}

fn sections(lines: &mut Lines<'_>, entry: &mut Entry) -> Result<(), String> {
    enum Section {
        None,
        Captures,
        Asserts,
    }
    let mut section = Section::None;
    while lines.skip_blank() {
        let text = lines.peek().unwrap_or_default();
        if method_of(text).is_some() {
            return Ok(());
        }
        let (line, _) = lines.next().ok_or("the end")?;
        match (text, &section) {
            ("[Captures]", _) => section = Section::Captures,
            ("[Asserts]", _) => section = Section::Asserts,
            (_, Section::Captures) => entry.captures.push(capture(line, text)?),
            (_, Section::Asserts) => entry.asserts.push(Expectation::parse(line, text)?),
            (_, Section::None) => {
                return Err(format!("expected a section or a request, found `{text}`"));
            }
        }
    }
    Ok(())
}

fn capture(line: usize, text: &str) -> Result<Capture, String> {
    let (name, rest) = text
        .split_once(": ")
        .ok_or_else(|| format!("expected `name: query`, found `{text}`"))?;
    let (path, rest) = query(rest)?;
    if !rest.is_empty() {
        return Err(format!("unsupported filter `{rest}` in a capture"));
    }
    Ok(Capture {
        line,
        name: name.to_owned(),
        path,
    })
}

/// Lines with their numbers; comments and blank lines are skipped except inside a body.
struct Lines<'t> {
    all: Vec<&'t str>,
    at: usize,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            all: text.lines().collect(),
            at: 0,
        }
    }

    /// Of the line read last, from 1.
    fn number(&self) -> usize {
        self.at.max(1)
    }

    fn peek(&self) -> Option<&'t str> {
        self.all.get(self.at).map(|text| text.trim())
    }

    fn next(&mut self) -> Option<(usize, &'t str)> {
        self.next_raw().map(|(line, text)| (line, text.trim()))
    }

    fn next_raw(&mut self) -> Option<(usize, &'t str)> {
        let text = self.all.get(self.at)?;
        self.at += 1;
        Some((self.at, text))
    }

    /// False at the end.
    fn skip_blank(&mut self) -> bool {
        while self
            .peek()
            .is_some_and(|text| text.is_empty() || text.starts_with('#'))
        {
            self.at += 1;
        }
        self.at < self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
# Log in
POST {{host}}/login
Authorization: Token {{token}}
{
  "user": {"name": "{{name}}", "odd": "}"}
}
HTTP 200
[Captures]
token: jsonpath "$.token"
[Asserts]
jsonpath "$.a" == 1

GET {{host}}/next
HTTP 204
"#;

    #[test]
    fn entries_have_all_their_parts_and_lines() {
        let script = parse("two.hurl", TWO).unwrap();
        let [first, second] = &script.entries[..] else {
            panic!("{script:?}")
        };
        assert_eq!(
            (first.line, first.method.as_str(), first.url.as_str()),
            (3, "POST", "{{host}}/login")
        );
        assert_eq!(
            first.headers,
            [("Authorization".to_owned(), "Token {{token}}".to_owned())]
        );
        assert!(first.body.as_ref().unwrap().contains("{{name}}"));
        assert_eq!((first.status.code, first.status.line), (200, 8));
        assert_eq!(first.captures[0].name, "token");
        assert_eq!(first.asserts[0].line, 12);
        assert_eq!((second.line, second.status.code), (14, 204));
    }

    #[test]
    fn an_unknown_construct_names_its_line() {
        for (text, line) in [
            ("FETCH {{host}}/", 1),
            ("GET {{host}}/\n[QueryStringParams]\na: 1\nHTTP 200", 2),
            ("GET {{host}}/\n`text`\nHTTP 200", 2),
            ("GET {{host}}/\nHTTP *", 2),
            ("GET {{host}}/\nHTTP 200\nETag: 1", 3),
            ("GET {{host}}/\nHTTP 200\n[Asserts]\nstatus == 200", 4),
            ("GET {{host}}/\nHTTP 200\n[Captures]\nx: regex \"a\"", 4),
            (
                "GET {{host}}/\nHTTP 200\n[Captures]\nx: jsonpath \"$.a\" count",
                4,
            ),
            ("GET {{host}}/\nHTTP 200\n[Options]\nretry: 1", 3),
            ("GET {{host}}/\nHTTP 200\n{ \"a\": 1 }", 3),
            ("POST {{host}}/\n{ \"a\": \nHTTP 200", 3),
            ("GET {{host}}/", 1),
        ] {
            let error = parse("bad.hurl", text).unwrap_err();
            assert_eq!((error.file.as_str(), error.line), ("bad.hurl", line), "{error}");
        }
    }
}
