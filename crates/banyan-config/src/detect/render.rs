//! A proposal as the banyan.toml that `banyan init` writes: short, commented, loadable.

use std::fmt::Write as _;

use super::Proposal;
use crate::resolved::quoted;

impl Proposal {
    /// Loads without an error when the folder is as it was seen.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a String takes any text");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        match &self.kind {
            Some(kind) => writeln!(
                out,
                "# Written by `banyan init`, which took this folder for {kind}."
            )?,
            None => writeln!(out, "# Written by `banyan init`.")?,
        }
        writeln!(out, "# Every key and its default: `banyan config --manual`.")?;
        let sentences: Vec<&String> = self.guesses.iter().chain(&self.check).collect();
        if !sentences.is_empty() {
            writeln!(out, "#\n# Please check:")?;
            for sentence in sentences {
                writeln!(out, "# - {}", sentence.replace('\n', " "))?;
            }
        }
        writeln!(out, "version = 1\nname = {}", quoted(&self.name))?;
        self.write_app(out)?;
        self.write_processes(out)?;
        self.write_edge(out)?;
        self.write_database(out)
    }

    fn write_app(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n[app]")?;
        match &self.release {
            Some(release) => {
                writeln!(
                    out,
                    "# Once per deploy, before the new version gets traffic; its failure keeps the old one."
                )?;
                writeln!(out, "release = {}", quoted(release))?;
            }
            None => writeln!(
                out,
                "# release = \"…\"  # once per deploy, for example migrations"
            )?,
        }
        writeln!(
            out,
            "# secrets = \"secrets.env\"  # NAME=value lines, chmod 600; {{{{secret.NAME}}}} refers to them"
        )?;
        if self.env.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n[app.env]")?;
        self.env
            .iter()
            .try_for_each(|(name, value)| writeln!(out, "{name} = {}", quoted(value)))
    }

    fn write_processes(&self, out: &mut String) -> std::fmt::Result {
        if !self.procfile.is_empty() {
            writeln!(
                out,
                "\n# The Procfile's processes run as they are: {}.",
                self.procfile.join(", ")
            )?;
        }
        for process in &self.processes {
            writeln!(out, "\n[process.{}]", process.name)?;
            writeln!(out, "command = {}", quoted(&process.command))?;
        }
        if self.has_web() {
            if self.processes.is_empty() {
                writeln!(out, "\n[process.web]")?;
            }
            writeln!(
                out,
                "# A path that answers 200 when the instance can work: without it, deploys may lose requests."
            )?;
            writeln!(out, "# ready = \"/healthz\"")?;
        }
        Ok(())
    }

    fn has_web(&self) -> bool {
        self.procfile
            .iter()
            .chain(self.processes.iter().map(|process| &process.name))
            .any(|name| name == "web")
    }

    fn write_edge(&self, out: &mut String) -> std::fmt::Result {
        if !self.has_web() {
            return writeln!(
                out,
                "\n# No process is called `web`, so there is no HTTP front. [edge] process = \"…\" names another."
            );
        }
        writeln!(
            out,
            "\n[edge]\nport = 8080\npublic = false  # true: reachable from other machines"
        )
    }

    fn write_database(&self, out: &mut String) -> std::fmt::Result {
        match &self.database {
            Some(driver) => {
                writeln!(
                    out,
                    "\n# PostgreSQL, run by Banyan, because the app uses {driver}; it finds it by DATABASE_URL."
                )?;
                writeln!(out, "[database]")?;
                writeln!(out, "# url = \"postgres://…\"  # your own server instead")
            }
            None => writeln!(
                out,
                "\n# [database]  # remove the first # and Banyan runs PostgreSQL: DATABASE_URL"
            ),
        }
    }
}
