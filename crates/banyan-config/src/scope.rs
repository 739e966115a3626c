//! Where a template or command is used, and so what it may refer to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::command::{self, CommandError, CommandErrorKind};
use crate::nearest::{list, nearest};
use crate::read::Spot;
use crate::redis::Purpose;
use crate::report::{Place, Report};
use crate::secrets::Secrets;
use crate::template::{Piece, Placeholder, RedisPart, Template, TemplateErrorKind, pieces};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Environment,
    Command,
    /// The release command: no instance, so no port.
    Release,
    /// Written once for all instances.
    File,
    DatabaseUrl,
    RedisUrl,
}

/// What exists to refer to.
pub(crate) struct Scope<'a> {
    pub(crate) report: &'a Report,
    pub(crate) database: bool,
    /// Those that are written; whether each is one server.
    pub(crate) redis: BTreeMap<Purpose, bool>,
    /// As written; `None`: there is no secrets file.
    pub(crate) secrets_path: Option<PathBuf>,
    /// `None`: it could not be read, which has been reported.
    pub(crate) secrets: Option<Secrets>,
    pub(crate) used_secrets: RefCell<BTreeSet<String>>,
}

/// What a command can see.
pub(crate) struct Environment {
    pub(crate) names: BTreeSet<String>,
    /// Those whose value is secret.
    pub(crate) secret: BTreeSet<String>,
}

impl Scope<'_> {
    /// Reports everything wrong with the placeholders.
    pub(crate) fn template(&self, text: &Spot<String>, usage: Use) -> Template {
        for piece in pieces(&text.value) {
            let at = |range| text.place.part(self.report, &text.value, range);
            match piece {
                Ok(Piece::Text(_)) => {}
                Ok(Piece::Placeholder(placeholder, range)) => {
                    self.placeholder(&placeholder, &at(range), usage)
                }
                Err(error) => match &error.kind {
                    TemplateErrorKind::Unclosed => self.report.error(
                        &at(error.range),
                        "`{{` without `}}` on the same line",
                        &["write {{name}}; for two literal braces write {{{{"],
                    ),
                    TemplateErrorKind::Unknown(name) => self.unknown(name, &at(error.range), usage),
                },
            }
        }
        Template::literal(text.value.clone())
    }

    fn placeholder(&self, placeholder: &Placeholder, place: &Place, usage: Use) {
        if let Some((why, help)) = refusal(placeholder, usage) {
            return self
                .report
                .error(place, format!("`{{{{{placeholder}}}}}` {why}"), &[help]);
        }
        if placeholder.is_database() && !self.database {
            let message = format!("`{{{{{placeholder}}}}}` needs a database, and there is none");
            return self.report.error(
                place,
                message,
                &["add a [database] table; empty, it makes Banyan run PostgreSQL"],
            );
        }
        if let Some(purpose) = placeholder
            .redis()
            .filter(|purpose| !self.redis.contains_key(purpose))
        {
            let message = format!("`{{{{{placeholder}}}}}` needs Redis, and there is none for it");
            let help = format!("add a [{purpose}] table; empty, it makes Banyan run Redis");
            return self.report.error(place, message, &[&help]);
        }
        if let Placeholder::Redis(purpose, RedisPart::Host | RedisPart::Port) = placeholder
            && self.redis.get(purpose) == Some(&false)
        {
            let message =
                format!("`{{{{{placeholder}}}}}` has no value: `url` in [{purpose}] names several hosts");
            let help = format!("use {{{{{purpose}.url}}}}, which names them all");
            return self.report.error(place, message, &[&help]);
        }
        if let Placeholder::Secret(name) = placeholder {
            self.secret(name, place);
        }
    }

    fn secret(&self, name: &str, place: &Place) {
        self.used_secrets.borrow_mut().insert(name.to_owned());
        let Some(path) = &self.secrets_path else {
            let help =
                "write secrets = \"secrets.env\" in [app], and NAME=value lines in that file (mode 0600)";
            return self.report.error(
                place,
                format!("secret `{name}` is not defined: there is no secrets file"),
                &[help],
            );
        };
        let Some(secrets) = &self.secrets else { return };
        if secrets.get(name).is_none() {
            let near =
                nearest(name, secrets.names()).map(|near| format!("did you mean {{{{secret.{near}}}}}?"));
            let add = format!("add a line {name}=… to {}", path.display());
            let help: Vec<&str> = near.iter().map(String::as_str).chain([add.as_str()]).collect();
            self.report.error(
                place,
                format!("secret `{name}` is not in {}", path.display()),
                &help,
            );
        }
    }

    fn unknown(&self, name: &str, place: &Place, usage: Use) {
        let available = self.available(usage);
        let secret = ["secrets.", "env.", "SECRET."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        let near = match secret {
            Some(secret) => Some(format!("secret.{secret}")),
            None => {
                let all = Placeholder::FIXED.map(|placeholder| placeholder.to_string());
                nearest(name, available.iter().chain(&all).map(String::as_str)).map(str::to_owned)
            }
        };
        let near = near.map(|near| format!("did you mean {{{{{near}}}}}?"));
        let known = format!("available here: {}", list(available.iter().map(String::as_str)));
        let braces = "for two literal braces write {{{{".to_owned();
        let help: Vec<String> = near
            .into_iter()
            .chain([known])
            .chain((usage == Use::File).then_some(braces))
            .collect();
        let help: Vec<&str> = help.iter().map(String::as_str).collect();
        self.report
            .error(place, format!("unknown placeholder `{{{{{name}}}}}`"), &help);
    }

    fn available(&self, usage: Use) -> Vec<String> {
        let fixed = Placeholder::FIXED.into_iter();
        let there = |p: &Placeholder| match p.redis() {
            Some(purpose) => self.redis.contains_key(&purpose),
            None => self.database || !p.is_database(),
        };
        let usable = fixed.filter(|p| refusal(p, usage).is_none() && there(p));
        let secrets = self
            .secrets
            .iter()
            .flat_map(Secrets::names)
            .map(|name| format!("secret.{name}"));
        let secrets = secrets.filter(|_| usage != Use::Command && usage != Use::Release);
        usable
            .map(|placeholder| placeholder.to_string())
            .chain(secrets)
            .collect()
    }

    /// argv of a command; what is wrong is reported. `owner`: the process, or empty for the release command.
    pub(crate) fn command(
        &self,
        text: &Spot<String>,
        usage: Use,
        environment: &Environment,
        owner: &str,
    ) -> Vec<Template> {
        self.template(text, usage);
        let at = |range| text.place.part(self.report, &text.value, range);
        match command::split(&text.value) {
            Ok(command) => {
                for (name, range) in &command.variables {
                    self.variable(name, &at(range.clone()), environment);
                }
                command.words.into_iter().map(Template::literal).collect()
            }
            Err(error) => {
                let place = at(error.range.clone());
                let (message, help) = explain(&error, &text.value, owner);
                self.report.error(&place, message, &[&help]);
                Vec::new()
            }
        }
    }

    fn variable(&self, name: &str, place: &Place, environment: &Environment) {
        if !environment.names.contains(name) {
            let near = nearest_variable(name, environment).map(|near| format!("did you mean ${near}?"));
            let add = if name == "DATABASE_URL" {
                "add a [database] table; empty, it makes Banyan run PostgreSQL".to_owned()
            } else if let Some(purpose) = Purpose::ALL
                .into_iter()
                .find(|purpose| purpose.variable() == name)
            {
                format!("add a [{purpose}] table; empty, it makes Banyan run Redis")
            } else {
                format!("set {name} in [app.env]: Banyan passes nothing of its own environment on")
            };
            let shell =
                "for a shell that the command starts, use single quotes: sh -c 'echo $NAME'".to_owned();
            let help: Vec<String> = near.into_iter().chain([add, shell]).collect();
            let help: Vec<&str> = help.iter().map(String::as_str).collect();
            self.report
                .error(place, format!("`${name}` is not set for this command"), &help);
        } else if environment.secret.contains(name) {
            let message =
                format!("`${name}` is secret, and arguments can be seen by every user of this machine");
            self.report.warning(
                place,
                message,
                &["let the program read it from its environment, where it is anyway"],
            );
        }
    }
}

fn nearest_variable<'a>(name: &str, environment: &'a Environment) -> Option<&'a str> {
    let folded = |known: &&String| known.eq_ignore_ascii_case(name);
    let same = environment.names.iter().find(folded);
    same.map(String::as_str).or_else(|| {
        let names: Vec<String> = environment.names.iter().map(|name| name.to_lowercase()).collect();
        let near = nearest(name, names.iter().map(String::as_str))?.to_owned();
        environment
            .names
            .iter()
            .map(String::as_str)
            .find(|known| known.to_lowercase() == near)
    })
}

/// Why a placeholder cannot stand there, and what to do.
fn refusal(placeholder: &Placeholder, usage: Use) -> Option<(&'static str, &'static str)> {
    let own = matches!(
        placeholder,
        Placeholder::Port | Placeholder::Process | Placeholder::Instance
    );
    match usage {
        Use::Command | Use::Release if placeholder.is_secret() => Some((
            "cannot be in a command: every user of this machine can see arguments",
            "put it in [app.env] as a variable that the program reads",
        )),
        Use::Release if own => Some((
            "has no value in the release command, which is no instance",
            "leave it out of the release command",
        )),
        Use::File if own => Some((
            "has no value in a file: all instances share it",
            "let the app read PORT or BANYAN_INSTANCE from its environment",
        )),
        Use::DatabaseUrl if !matches!(placeholder, Placeholder::Secret(_)) => Some((
            "has no value in the database's own URL",
            "only {{secret.NAME}} can be used here",
        )),
        Use::RedisUrl if !matches!(placeholder, Placeholder::Secret(_)) => Some((
            "has no value in the URL of a Redis",
            "only {{secret.NAME}} can be used here",
        )),
        _ => None,
    }
}

fn explain(error: &CommandError, text: &str, owner: &str) -> (String, String) {
    let found = &text[error.range.clone()];
    match &error.kind {
        CommandErrorKind::Empty => (
            "the command is empty".to_owned(),
            "write a program and its arguments".to_owned(),
        ),
        CommandErrorKind::Unclosed(quote) => (
            format!("the quote {quote} is never closed"),
            format!("add the closing {quote}, or write \\{quote} for a literal one"),
        ),
        CommandErrorKind::Shell if found == "#" => (
            "commands have no comments".to_owned(),
            "remove it, or write \"#\" with quotes if it is an argument".to_owned(),
        ),
        CommandErrorKind::Shell if found == "&" && error.range.end == text.trim_end().len() => (
            "`&` puts a program into the background, where nothing watches it".to_owned(),
            "remove it: Banyan runs processes side by side".to_owned(),
        ),
        CommandErrorKind::Shell => (
            format!("`{found}` needs a shell, and commands run without one"),
            format!("write {}", in_shell(text)),
        ),
        CommandErrorKind::Assignment(name) => (
            format!("`{found}` sets a variable, which needs a shell"),
            format!(
                "put {name} in [{}] and remove it here",
                if owner.is_empty() {
                    "app.env".to_owned()
                } else {
                    format!("process.{owner}.env")
                }
            ),
        ),
        CommandErrorKind::Builtin if found == "exec" => (
            "`exec` is part of a shell, and commands run without one".to_owned(),
            "remove the word: the program is started directly".to_owned(),
        ),
        CommandErrorKind::Builtin => (
            format!("`{found}` is part of a shell, and commands run without one"),
            format!("write {}", in_shell(text)),
        ),
    }
}

/// The command in a form that runs; the last program should replace the shell, to get its signals.
fn in_shell(text: &str) -> String {
    format!("sh -c '{}'", text.trim().replace('\'', r"'\''"))
}
