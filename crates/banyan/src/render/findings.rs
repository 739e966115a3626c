//! Findings of `doctor` and `check`: a mark, a name, what was seen, what to do.

use banyan_supervisor::RunAs;
use banyan_supervisor::engine::identity::Identity;
use serde::{Deserialize, Serialize};

use super::paint::{Paint, Style};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it should be.
    Good,
    /// Works; worth knowing. No finding.
    Note,
    /// Works now, and will cost something.
    Warning,
    /// Stands in the way.
    Problem,
}

impl Level {
    /// Counts for the exit code.
    pub(crate) fn is_finding(self) -> bool {
        matches!(self, Self::Warning | Self::Problem)
    }

    fn mark(self) -> (&'static str, Style) {
        match self {
            Self::Good => ("✓", Style::Green),
            Self::Note => ("·", Style::Dim),
            Self::Warning => ("!", Style::Yellow),
            Self::Problem => ("✗", Style::Red),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) name: String,
    pub(crate) seen: String,
    /// The command or change that settles it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
    /// More to know, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) notes: Vec<String>,
}

impl Finding {
    pub(crate) fn new(level: Level, name: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            level,
            name: name.into(),
            seen: seen.into(),
            fix: None,
            notes: Vec::new(),
        }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Long sentences are broken to this many columns; commands never are, for they are copied.
const WIDTH: usize = 110;

/// Breaks at spaces; a line that fits stays as it is, indentation included.
fn wrap(line: &str, room: usize) -> Vec<String> {
    if line.chars().count() <= room {
        return vec![line.to_owned()];
    }
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in line.split(' ') {
        if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut current));
        } else if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    lines.push(current);
    lines
}

pub(crate) fn render(findings: &[Finding], paint: Paint) -> String {
    let width = findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let indent = " ".repeat(width + 4);
    let mut out = String::new();
    for finding in findings {
        let (mark, style) = finding.level.mark();
        let room = WIDTH.saturating_sub(width + 4).max(40);
        let seen: Vec<String> = finding
            .seen
            .trim_end()
            .lines()
            .flat_map(|line| wrap(line, room))
            .collect();
        let mut seen = seen.iter();
        let first = seen.next().map(String::as_str).unwrap_or_default();
        out.push_str(&format!(
            "{} {:<width$}  {first}\n",
            paint.with(style, mark),
            finding.name
        ));
        for line in seen {
            out.push_str(format!("{indent}{line}").trim_end());
            out.push('\n');
        }
        if let Some(fix) = &finding.fix {
            for (index, line) in fix.lines().enumerate() {
                let head = if index == 0 { "→ " } else { "  " };
                out.push_str(&format!("{indent}{}{}\n", paint.cyan(head), paint.bold(line)));
            }
        }
        for note in &finding.notes {
            out.push_str(&format!("{indent}{}\n", paint.dim(note)));
        }
    }
    out
}

/// Which user the app's code runs as.
pub(crate) fn of_identity(identity: &Identity) -> Finding {
    const NAME: &str = "user of the app";
    match (&identity.warning, &identity.run_as) {
        (Some(warning), _) => Finding::new(Level::Warning, NAME, warning.clone()),
        (None, RunAs::User(user)) => Finding::new(Level::Good, NAME, format!("runs as {user}")),
        (None, RunAs::Same) => Finding::new(Level::Good, NAME, "runs as you"),
    }
}

/// `2 problems, 1 warning`, or `nothing to do`.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let named = |n: usize, one: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{n} {one}s")),
    };
    let parts: Vec<String> = [
        named(count(Level::Problem), "problem"),
        named(count(Level::Warning), "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        "nothing to do".to_owned()
    } else {
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn long_sentences_are_broken_under_their_beginning_and_commands_are_not() {
        let findings = [
            Finding::new(Level::Good, "clock", "plausible"),
            Finding::new(Level::Problem, "port 8080", "word ".repeat(30)).fix("command ".repeat(15)),
        ];
        expect![[r#"
            ✓ clock      plausible
            ✗ port 8080  word word word word word word word word word word word word word word word word word word word
                         word word word word word word word word word word word
                         → command command command command command command command command command command command command command command command 
        "#]].assert_eq(&render(&findings, Paint::OFF));
        assert_eq!(summary(&findings), "1 problem");
        assert_eq!(summary(&findings[..1]), "nothing to do");
    }
}
