//! A command line to words, with the quoting of a shell and nothing else of it: what needs a shell is an error that
//! says how to get one.

use std::ops::Range;

use crate::secrets::is_variable_name;

/// Words in which `$NAME` is to be expanded and `$$` is a literal dollar.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) words: Vec<String>,
    /// `$NAME` and `${NAME}`, with their places in the text.
    pub(crate) variables: Vec<(String, Range<usize>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandError {
    pub(crate) kind: CommandErrorKind,
    pub(crate) range: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommandErrorKind {
    Empty,
    /// The quote that is never closed.
    Unclosed(char),
    /// Only a shell understands it.
    Shell,
    /// `NAME=value` in front of the program.
    Assignment(String),
    /// A command that is no program.
    Builtin,
}

const BUILTINS: [&str; 10] = [
    "cd", "exec", "export", "source", ".", "set", "unset", "ulimit", "eval", "trap",
];

pub(crate) fn split(text: &str) -> Result<Command, CommandError> {
    let mut splitter = Splitter {
        text,
        at: 0,
        word: None,
        first: None,
        command: Command::default(),
    };
    while splitter.at < text.len() {
        splitter.step()?;
    }
    splitter.end_word();
    let Splitter { command, first, .. } = splitter;
    let Some(range) = first else {
        return Err(CommandError {
            kind: CommandErrorKind::Empty,
            range: 0..text.len(),
        });
    };
    let program = text[range.clone()].trim_end();
    let range = range.start..range.start + program.len();
    match no_program(program) {
        Some(kind) => Err(CommandError { kind, range }),
        None => Ok(command),
    }
}

/// What a shell takes this first word for, instead of the program's name. In quotes it is the name of a program.
fn no_program(first: &str) -> Option<CommandErrorKind> {
    if BUILTINS.contains(&first) {
        return Some(CommandErrorKind::Builtin);
    }
    let (name, _) = first.split_once('=')?;
    is_variable_name(name).then(|| CommandErrorKind::Assignment(name.to_owned()))
}

/// Words to one line that [`split`] takes apart again.
pub(crate) fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words = words.into_iter();
    let first = words.next().map(|first| match no_program(first) {
        Some(_) => quoted(first),
        None => quote(first),
    });
    first
        .into_iter()
        .chain(words.map(quote))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+${}".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.contains("${") {
        return word.to_owned();
    }
    quoted(word)
}

fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

struct Splitter<'a> {
    text: &'a str,
    at: usize,
    word: Option<String>,
    /// Place of the first word.
    first: Option<Range<usize>>,
    command: Command,
}

impl Splitter<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn step(&mut self) -> Result<(), CommandError> {
        let Some(c) = self.rest().chars().next() else {
            return Ok(());
        };
        match c {
            c if c.is_whitespace() => {
                self.end_word();
                self.at += c.len_utf8();
            }
            '\'' => self.single_quoted()?,
            '"' => self.double_quoted()?,
            '\\' => {
                self.at += 1;
                match self.rest().chars().next() {
                    Some('\n') => self.at += 1,
                    Some(next) => {
                        self.at += next.len_utf8();
                        self.literal(next);
                    }
                    None => self.literal('\\'),
                }
            }
            '#' if self.word.is_none() => return Err(self.shell(1)),
            '&' | '|' | ';' | '<' | '>' | '(' | ')' => {
                let doubled = self.rest().chars().nth(1) == Some(c);
                return Err(self.shell(1 + usize::from(doubled)));
            }
            _ => self.plain(c)?,
        }
        Ok(())
    }

    /// A character that means the same outside and inside double quotes.
    fn plain(&mut self, c: char) -> Result<(), CommandError> {
        match c {
            '`' => return Err(self.shell(1)),
            '$' => self.dollar()?,
            '{' if self.placeholder() => {}
            c => {
                self.at += c.len_utf8();
                self.push(c);
            }
        }
        Ok(())
    }

    /// Copies `{{ name }}` with the spaces inside.
    fn placeholder(&mut self) -> bool {
        let rest = self.rest();
        let Some(end) = rest.strip_prefix("{{").and_then(|inner| inner.find("}}")) else {
            return false;
        };
        let length = end + 4;
        let placeholder = rest[..length].to_owned();
        self.start();
        self.word.get_or_insert_default().push_str(&placeholder);
        self.at += length;
        true
    }

    fn dollar(&mut self) -> Result<(), CommandError> {
        let rest = &self.rest()[1..];
        if rest.starts_with('(') {
            return Err(self.shell(2));
        }
        let (name, length) = if let Some(braced) = rest.strip_prefix('{') {
            let name = braced.split('}').next().unwrap_or_default();
            if !is_variable_name(name) || !braced[name.len()..].starts_with('}') {
                return Err(self.shell(name.chars().count() + 3));
            }
            (name, name.len() + 3)
        } else {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            (&rest[..end], end + 1)
        };
        if is_variable_name(name) {
            let (name, range) = (name.to_owned(), self.at..self.at + length);
            let written = self.text[range.clone()].to_owned();
            self.start();
            self.word.get_or_insert_default().push_str(&written);
            self.at = range.end;
            self.command.variables.push((name, range));
        } else {
            self.at += 1 + usize::from(rest.starts_with('$'));
            self.literal('$');
        }
        Ok(())
    }

    fn single_quoted(&mut self) -> Result<(), CommandError> {
        let Some(length) = self.rest()[1..].find('\'') else {
            return Err(self.unclosed('\''));
        };
        self.start();
        self.word.get_or_insert_default();
        let content = self.rest()[1..=length].to_owned();
        content.chars().for_each(|c| self.literal(c));
        self.at += length + 2;
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), CommandError> {
        let unclosed = self.unclosed('"');
        self.start();
        self.at += 1;
        self.word.get_or_insert_default();
        loop {
            let mut chars = self.rest().chars();
            match (chars.next(), chars.next()) {
                (None, _) => return Err(unclosed),
                (Some('"'), _) => break,
                (Some('\\'), Some(c @ ('"' | '\\' | '$' | '`'))) => {
                    self.at += 2;
                    self.literal(c);
                }
                (Some('\\'), Some('\n')) => self.at += 2,
                (Some(c), _) => self.plain(c)?,
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A character of the word that is not expanded.
    fn literal(&mut self, c: char) {
        if c == '$' {
            self.push('$');
        }
        self.push(c);
    }

    fn push(&mut self, c: char) {
        self.start();
        self.word.get_or_insert_default().push(c);
    }

    /// Notes where the first word begins.
    fn start(&mut self) {
        if self.first.is_none() {
            let before = &self.text[..self.at];
            let start = self.text.len() - self.text.trim_start().len();
            self.first = Some(start.min(before.len())..self.text.len());
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if self.command.words.is_empty()
                && let Some(first) = &mut self.first
            {
                first.end = self.at;
            }
            self.command.words.push(word);
        }
    }

    /// `characters` from here on.
    fn shell(&self, characters: usize) -> CommandError {
        let length = self
            .rest()
            .chars()
            .take(characters)
            .map(char::len_utf8)
            .sum::<usize>();
        CommandError {
            kind: CommandErrorKind::Shell,
            range: self.at..self.at + length,
        }
    }

    fn unclosed(&self, quote: char) -> CommandError {
        CommandError {
            kind: CommandErrorKind::Unclosed(quote),
            range: self.at..self.at + 1,
        }
    }
}
