//! A Procfile: `name: command` lines.

use std::ops::Range;

use crate::check::suggest_name;
use crate::name::ProcessName;
use crate::read::Spot;
use crate::report::{FileId, Place, Report};

pub(crate) struct Procfile {
    pub(crate) processes: Vec<(ProcessName, Spot<String>)>,
    /// The entry `release` is no process: it runs once per deploy.
    pub(crate) release: Option<Spot<String>>,
}

impl Procfile {
    pub(crate) fn empty() -> Self {
        Self {
            processes: Vec::new(),
            release: None,
        }
    }

    pub(crate) fn command(&self, name: &ProcessName) -> Option<&Spot<String>> {
        self.processes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, command)| command)
    }
}

pub(crate) fn parse(text: &str, file: FileId, report: &Report) -> Procfile {
    let mut procfile = Procfile::empty();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let indent = start + (line.len() - line.trim_start().len());
        let place = |range: Range<usize>| Place {
            file,
            range: indent + range.start..indent + range.end,
        };
        let Some((name, command)) = body.split_once(':') else {
            report.error(
                &place(0..body.len()),
                "this line has no `:`",
                &["write name: command, for example web: ./server"],
            );
            continue;
        };
        let command_start = body.len() - command.trim_start().len();
        let command = Spot {
            value: command.trim().to_owned(),
            place: place(command_start..body.len()),
        };
        let name_place = place(0..name.trim_end().len().max(1));
        add(&mut procfile, name.trim(), &name_place, command, report);
    }
    procfile
}

fn add(procfile: &mut Procfile, name: &str, place: &Place, command: Spot<String>, report: &Report) {
    let twice = || {
        report.error(
            place,
            format!("process `{name}` is defined twice"),
            &["remove one of the two lines"],
        )
    };
    if name == "release" {
        if procfile.release.replace(command).is_some() {
            twice();
        }
        return;
    }
    match name.parse::<ProcessName>() {
        Ok(name) if procfile.command(&name).is_some() => twice(),
        Ok(name) => procfile.processes.push((name, command)),
        Err(_) => {
            let suggestion = suggest_name(name)
                .map(|name| format!("write `{name}`"))
                .unwrap_or_default();
            let rule = "1 to 32 lower case letters, digits or hyphens, beginning with a letter";
            let help: Vec<&str> = [suggestion.as_str(), rule]
                .into_iter()
                .filter(|line| !line.is_empty())
                .collect();
            report.error(place, format!("a process cannot be named `{name}`"), &help);
        }
    }
}
