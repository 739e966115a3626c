//! Who watches `up`: a person at stderr, or the process that waits for `--detach`.

use std::io::{self, Stderr, Write};

use banyan_reconcile::proto::Progress;
use banyan_runtime::Clock;
use serde::{Deserialize, Serialize};

use super::summary::Summary;
use crate::output::{Context, ignore};
use crate::render::error;
use crate::render::paint::Paint;
use crate::render::progress::ProgressLine;

/// A line from the background controller to the process that started it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "said")]
pub(crate) enum Said {
    Progress { progress: Progress },
    Note { text: String },
    Serving { summary: Box<Summary> },
    Failed { text: String },
}

pub(crate) enum Audience {
    Person(Person),
    /// Until it serves; from then on the log is told.
    Parent(Person),
}

pub(crate) struct Person {
    line: ProgressLine<Stderr>,
    paint: Paint,
    paint_out: Paint,
    json: bool,
}

impl Audience {
    pub(crate) fn person(context: &Context) -> Self {
        Self::Person(Person::new(context))
    }

    pub(crate) fn parent(context: &Context) -> Self {
        Self::Parent(Person::new(context))
    }

    pub(crate) fn progress(&mut self, progress: &Progress) {
        match self {
            Self::Person(person) => person.progress(progress),
            Self::Parent(log) => {
                log.progress(progress);
                tell(&Said::Progress {
                    progress: progress.clone(),
                });
            }
        }
    }

    pub(crate) fn tick(&mut self) {
        let (Self::Person(person) | Self::Parent(person)) = self;
        person.tick();
    }

    /// Removes what moves.
    pub(crate) fn settle(&mut self) {
        let (Self::Person(person) | Self::Parent(person)) = self;
        ignore(person.line.finish());
    }

    pub(crate) fn say(&mut self, text: &str) {
        let (Self::Person(person) | Self::Parent(person)) = self;
        person.say(text);
    }

    pub(crate) fn notes(&mut self, notes: &[String]) {
        for note in notes {
            match self {
                Self::Person(person) => person.note(note),
                Self::Parent(log) => {
                    log.note(note);
                    tell(&Said::Note { text: note.clone() });
                }
            }
        }
    }

    pub(crate) fn serving(&mut self, summary: &Summary) {
        match self {
            Self::Person(person) => person.serving(summary, "Ctrl-C"),
            Self::Parent(_) => tell(&Said::Serving {
                summary: Box::new(summary.clone()),
            }),
        }
    }

    pub(crate) fn failed(&mut self, error: &anyhow::Error) {
        match self {
            Self::Person(person) => {
                ignore(io::stderr().write_all(error::render(error, person.paint).as_bytes()))
            }
            Self::Parent(_) => tell(&Said::Failed {
                text: error::for_controller(error),
            }),
        }
    }
}

impl Person {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            line: ProgressLine::new(io::stderr(), context.paint_err, context.stderr_is_terminal),
            paint: context.paint_err,
            paint_out: context.paint,
            json: context.json,
        }
    }

    pub(crate) fn progress(&mut self, progress: &Progress) {
        ignore(self.line.event(progress, Clock.now()));
    }

    pub(crate) fn tick(&mut self) {
        ignore(self.line.tick(Clock.now()));
    }

    pub(crate) fn say(&mut self, text: &str) {
        ignore(self.line.say(text, Clock.now()));
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.say(&format!("{} {text}", self.paint.yellow("note:")));
    }

    pub(crate) fn settle(&mut self) {
        ignore(self.line.finish());
    }

    pub(crate) fn serving(&mut self, summary: &Summary, stop: &str) {
        self.settle();
        let text = if self.json {
            serde_json::to_string_pretty(summary).unwrap_or_default() + "\n"
        } else {
            summary.render(stop, self.paint_out)
        };
        let mut out = io::stdout().lock();
        ignore(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

/// A line on stdout, which is a pipe to the waiting process; that it went away changes nothing.
fn tell(said: &Said) {
    let Ok(text) = serde_json::to_string(said) else {
        return;
    };
    let mut out = io::stdout().lock();
    ignore(writeln!(out, "{text}").and_then(|()| out.flush()));
}
