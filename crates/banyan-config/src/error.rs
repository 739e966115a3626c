//! Every mistake at once, each with its place, the line it is on and what to write instead.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One thing wrong (or doubtful) in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    /// `None`: it is about the file as a whole.
    pub at: Option<At>,
    pub message: String,
    /// What to do about it, a sentence each.
    pub help: Vec<String>,
}

/// A place in a file, in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct At {
    pub line: usize,
    pub column: usize,
    /// Characters to underline; at least 1.
    pub length: usize,
    /// The source line; `None` in a secrets file, whose lines are never shown.
    pub text: Option<String>,
}

/// At least one problem, sorted by file and position. `Display` is the form for people, `Serialize` that for `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Errors(pub(crate) Vec<Problem>);

impl Errors {
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "error: {problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 error; nothing was changed"),
            count => write!(f, "{count} errors; nothing was changed"),
        }
    }
}

/// Message, place, line with carets, help. Callers put `error: ` or `warning: ` in front.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        let file = self.file.display();
        let Some(at) = &self.at else {
            writeln!(f, " --> {file}")?;
            return self.write_help(f, " ");
        };
        let margin = " ".repeat(at.line.to_string().len());
        writeln!(f, "{margin}--> {file}:{}:{}", at.line, at.column)?;
        if let Some(text) = &at.text {
            let excerpt = Excerpt::of(text, at.column, at.length);
            writeln!(f, "{margin} |")?;
            writeln!(f, "{} | {}", at.line, excerpt.text)?;
            writeln!(
                f,
                "{margin} | {}{}",
                " ".repeat(excerpt.indent),
                "^".repeat(excerpt.carets)
            )?;
        }
        self.write_help(f, &margin)
    }
}

impl Problem {
    fn write_help(&self, f: &mut fmt::Formatter<'_>, margin: &str) -> fmt::Result {
        for help in &self.help {
            let mut lines = help.lines();
            writeln!(f, "{margin} = {}", lines.next().unwrap_or_default())?;
            for line in lines {
                writeln!(f, "{margin}   {line}")?;
            }
        }
        Ok(())
    }
}

/// The part of a line that fits a terminal, with the carets under it.
struct Excerpt {
    text: String,
    indent: usize,
    carets: usize,
}

impl Excerpt {
    const WIDTH: usize = 140;

    fn of(line: &str, column: usize, length: usize) -> Self {
        let chars: Vec<char> = line.chars().map(printable).collect();
        let at = column.saturating_sub(1).min(chars.len());
        let skipped = if chars.len() > Self::WIDTH {
            at.saturating_sub(Self::WIDTH / 2)
        } else {
            0
        };
        let end = chars.len().min(skipped + Self::WIDTH);
        let mut text: String = if skipped > 0 {
            "…".to_owned()
        } else {
            String::new()
        };
        text.extend(&chars[skipped..end]);
        if end < chars.len() {
            text.push('…');
        }
        let carets = length.min(end.saturating_sub(at)).max(1);
        Self {
            text,
            indent: at - skipped + usize::from(skipped > 0),
            carets,
        }
    }
}

/// A control character in a file must not steer the terminal that shows its line.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}
