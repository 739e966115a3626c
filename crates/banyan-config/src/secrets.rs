//! The secrets file: `NAME=value` lines that `{{secret.NAME}}` refers to. Its values never leave by accident.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::{FileId, Place, Report};

/// A value that no log, plan or snapshot shows: there is no `Display`, `Serialize`, or telling `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// For the environment of a child, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The values of the secrets file by name. `Debug` shows the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes to hash in order to notice a change. They hold the values: never write them anywhere.
    pub fn digest_input(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in self
            .0
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.expose()])
        {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }
}

/// Reads all lines; what is wrong goes to the report, without showing a value.
pub(crate) fn parse(text: &str, file: FileId, report: &Report) -> Secrets {
    let mut secrets = Secrets::default();
    let mut rest = Cursor { text, at: 0 };
    while let Some(line) = rest.next_entry() {
        let place = Place {
            file,
            range: line.name_range.clone(),
        };
        let name = &text[line.name_range];
        match line.value {
            Err(problem) => report.error(&place, problem.message(), &[problem.help()]),
            Ok(_) if !is_variable_name(name) => report.error(
                &place,
                "this name cannot be used in an environment",
                &["a name is letters, digits and underscores, and does not begin with a digit"],
            ),
            Ok(value) => {
                if secrets.0.insert(name.to_owned(), Secret(value)).is_some() {
                    report.error(
                        &place,
                        format!("`{name}` is defined twice"),
                        &["remove one of the two lines"],
                    );
                }
            }
        }
    }
    secrets
}

/// `[A-Za-z_][A-Za-z0-9_]*`
pub(crate) fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

struct Entry {
    name_range: std::ops::Range<usize>,
    value: Result<String, Mistake>,
}

#[derive(Clone, Copy)]
enum Mistake {
    NoEquals,
    Unterminated,
    AfterQuote,
    Comment,
    Nul,
}

impl Mistake {
    fn message(self) -> &'static str {
        match self {
            Self::NoEquals => "this line has no `=`",
            Self::Unterminated => "the quoted value that begins here has no end",
            Self::AfterQuote => "there is text after the closing quote",
            Self::Comment => "it is not clear whether ` #` begins a comment or is part of the value",
            Self::Nul => "the value contains a zero byte, which no environment can hold",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::NoEquals => "write NAME=value, or begin the line with `#` if it is a comment",
            Self::Unterminated => "add the closing quote; a quote inside \"…\" is written \\\"",
            Self::AfterQuote => "put the whole value inside the quotes, and comments on lines of their own",
            Self::Comment => "write NAME='value' with quotes, and comments on lines of their own",
            Self::Nul => "remove it; encode binary values, for example as base64",
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn next_entry(&mut self) -> Option<Entry> {
        loop {
            let line = self.text[self.at..].lines().next()?;
            let start = self.at + (line.len() - line.trim_start().len());
            let body = line.trim();
            if body.is_empty() || body.starts_with('#') {
                self.skip_line();
                continue;
            }
            let exported = body.strip_prefix("export ").map_or(body, str::trim_start);
            let name_start = start + (body.len() - exported.len());
            let Some(equals) = exported.find('=') else {
                self.skip_line();
                // The line may well be a secret that lost its name: point at its beginning only.
                return Some(Entry {
                    name_range: start..start,
                    value: Err(Mistake::NoEquals),
                });
            };
            let name = exported[..equals].trim_end();
            self.at = name_start + equals + 1;
            let value = self.value();
            self.skip_line();
            return Some(Entry {
                name_range: name_start..name_start + name.len(),
                value,
            });
        }
    }

    fn value(&mut self) -> Result<String, Mistake> {
        let line = self.text[self.at..].lines().next().unwrap_or_default();
        let value = line.trim();
        let found = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.at += line.len() - line.trim_start().len() + 1;
                self.quoted(quote)?
            }
            _ if value.contains(" #") || value.contains("\t#") => return Err(Mistake::Comment),
            _ => value.to_owned(),
        };
        if found.contains('\0') {
            Err(Mistake::Nul)
        } else {
            Ok(found)
        }
    }

    /// May span lines, as keys in PEM form do.
    fn quoted(&mut self, quote: char) -> Result<String, Mistake> {
        let mut value = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += index + 1;
                    let after = self.text[self.at..].lines().next().unwrap_or_default().trim();
                    let clean = after.is_empty() || after.starts_with('#');
                    return if clean {
                        Ok(value)
                    } else {
                        Err(Mistake::AfterQuote)
                    };
                }
                '\\' if quote == '"' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, c @ ('"' | '\\' | '$' | '`'))) => value.push(c),
                    Some((_, c)) => value.extend(['\\', c]),
                    None => break,
                },
                c => value.push(c),
            }
        }
        Err(Mistake::Unterminated)
    }

    fn skip_line(&mut self) {
        self.at = self.text[self.at..]
            .find('\n')
            .map_or(self.text.len(), |newline| self.at + newline + 1);
    }
}
