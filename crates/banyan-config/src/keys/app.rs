//! `[app]`.

use super::Key;
use super::Kind::{List, Map, Table, Text};
use super::Rule::{Command, NotEmpty, Path, Template, Variable};

pub(super) static APP: &[Key] = &[
    Key::new(
        "dir",
        Text(Path),
        "The app's folder, relative to banyan.toml; commands run in it.",
    )
    .default("\".\"")
    .alias(&["path", "root", "directory", "cwd", "folder"]),
    Key::new(
        "procfile",
        Text(Path),
        "The Procfile, relative to the app's folder. It may be absent.",
    )
    .default("\"Procfile\""),
    Key::new(
        "release",
        Text(Command),
        "Runs once per deploy, before the new version gets traffic. Default: the Procfile's `release`.",
    )
    .alias(&["release_command", "migrate", "predeploy"]),
    Key::new(
        "secrets",
        Text(Path),
        "File of NAME=value lines, mode 0600, relative to banyan.toml. {{secret.NAME}} refers to them.",
    )
    .alias(&["secrets_file", "env_file", "dotenv"]),
    Key::new(
        "user",
        Text(NotEmpty),
        "Unix user of the app when Banyan runs as root. Default: the owner of the app's folder.",
    ),
    Key::new(
        "files",
        List(&Table(FILE)),
        "Files written from templates before each deploy, for apps that read a file.",
    ),
    Key::new(
        "env",
        Map(Variable, &Text(Template)),
        "Environment of every process and of the release command.",
    )
    .alias(&["environment", "vars", "variables"]),
];

static FILE: &[Key] = &[
    Key::new("from", Text(Path), "The template, relative to the app's folder.").required(),
    Key::new(
        "to",
        Text(Path),
        "Where it is written, relative to the app's folder.",
    )
    .required(),
];
