//! Collects problems while a configuration is read, and the texts they point into.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{At, Errors, Problem};

/// A text that problems can point into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(usize);

/// Bytes of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: FileId,
    pub(crate) range: Range<usize>,
}

impl Place {
    /// A part of this place, when `text` is what the place shows literally; else all of it.
    pub(crate) fn part(&self, report: &Report, text: &str, part: Range<usize>) -> Self {
        let files = report.files.borrow();
        let shown = files[self.file.0]
            .text
            .get(self.range.clone())
            .unwrap_or_default();
        let quotes = if shown.starts_with("\"\"\"") || shown.starts_with("'''") {
            3
        } else {
            usize::from(shown.starts_with(['"', '\'']))
        };
        let inner = shown
            .get(quotes..shown.len().saturating_sub(quotes))
            .unwrap_or_default();
        if shown == text {
            let start = self.range.start;
            return Self {
                file: self.file,
                range: start + part.start..start + part.end,
            };
        }
        if inner != text {
            return self.clone();
        }
        let start = self.range.start + quotes;
        Self {
            file: self.file,
            range: start + part.start..start + part.end,
        }
    }
}

struct File {
    path: PathBuf,
    text: String,
    /// Lines of it are never shown.
    secret: bool,
}

struct Finding {
    file: FileId,
    range: Option<Range<usize>>,
    message: String,
    help: Vec<String>,
    /// The line may hold a password.
    hidden: bool,
}

/// One per load. Checks go on after a problem, so that all of them are told at once.
#[derive(Default)]
pub(crate) struct Report {
    files: RefCell<Vec<File>>,
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
}

impl Report {
    pub(crate) fn add_file(&self, path: &Path, text: &str, secret: bool) -> FileId {
        let mut files = self.files.borrow_mut();
        files.push(File {
            path: path.to_owned(),
            text: text.to_owned(),
            secret,
        });
        FileId(files.len() - 1)
    }

    pub(crate) fn error(&self, place: &Place, message: impl Into<String>, help: &[&str]) {
        self.errors
            .borrow_mut()
            .push(Finding::new(place.file, Some(place.range.clone()), message, help));
    }

    /// About a file as a whole.
    pub(crate) fn file_error(&self, file: FileId, message: impl Into<String>, help: &[&str]) {
        self.errors
            .borrow_mut()
            .push(Finding::new(file, None, message, help));
    }

    pub(crate) fn warning(&self, place: &Place, message: impl Into<String>, help: &[&str]) {
        self.warnings
            .borrow_mut()
            .push(Finding::new(place.file, Some(place.range.clone()), message, help));
    }

    /// Like [`Report::error`], without showing the line.
    pub(crate) fn hidden_error(&self, place: &Place, message: impl Into<String>, help: &[&str]) {
        let finding = Finding::new(place.file, Some(place.range.clone()), message, help);
        self.errors.borrow_mut().push(finding.hide());
    }

    /// Like [`Report::warning`], without showing the line.
    pub(crate) fn hidden_warning(&self, place: &Place, message: impl Into<String>, help: &[&str]) {
        let finding = Finding::new(place.file, Some(place.range.clone()), message, help);
        self.warnings.borrow_mut().push(finding.hide());
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// The warnings, or the errors if there are any.
    pub(crate) fn finish(self) -> Result<Vec<Problem>, Errors> {
        let files = self.files.into_inner();
        let errors = resolve(&files, self.errors.into_inner());
        if errors.is_empty() {
            Ok(resolve(&files, self.warnings.into_inner()))
        } else {
            Err(Errors(errors))
        }
    }
}

impl Finding {
    fn new(file: FileId, range: Option<Range<usize>>, message: impl Into<String>, help: &[&str]) -> Self {
        let help = help.iter().map(|&line| line.to_owned()).collect();
        Self {
            file,
            range,
            message: message.into(),
            help,
            hidden: false,
        }
    }

    fn hide(mut self) -> Self {
        self.hidden = true;
        self
    }
}

fn resolve(files: &[File], mut findings: Vec<Finding>) -> Vec<Problem> {
    findings.sort_by_key(|finding| (finding.file, finding.range.as_ref().map(|range| range.start)));
    let problems = findings.into_iter().map(|finding| {
        let file = &files[finding.file.0];
        let at = finding.range.map(|range| locate(file, range, finding.hidden));
        Problem {
            file: file.path.clone(),
            at,
            message: finding.message,
            help: finding.help,
        }
    });
    let mut problems: Vec<Problem> = problems.collect();
    problems.dedup();
    problems
}

fn locate(file: &File, range: Range<usize>, hidden: bool) -> At {
    let text = &file.text;
    let start = boundary(text, range.start);
    let end = boundary(text, range.end.max(start));
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[line_start..]
        .find('\n')
        .map_or(text.len(), |newline| line_start + newline);
    let line = text[line_start..line_end].trim_end_matches('\r');
    At {
        line: text[..line_start].matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        length: text[start..end.min(line_end).max(start)].chars().count().max(1),
        text: (!file.secret && !hidden).then(|| line.to_owned()),
    }
}

/// The nearest place at or before `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}
