//! `banyan check`: which steps the app is ready for: what its configuration tells, and what a trial of one instance shows.

mod judge;
mod trial;

use anyhow::Context as _;
use banyan_supervisor::engine::identity;
use serde::Serialize;

use crate::cli::Check;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::findings::{self, Finding};

/// Findings of one class, in the order of their importance.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) class: &'static str,
    pub(crate) means: &'static str,
    pub(crate) findings: Vec<Finding>,
}

pub(crate) fn run(args: &Check, context: &Context) -> anyhow::Result<Exit> {
    let loaded = loading::load(&context.place)?;
    let folder = context.place.folder().join(&loaded.config.app.dir);
    let facts = identity::app_facts(loaded.config.app.user.as_deref(), &folder)
        .with_context(|| format!("failed to look at the app's folder {}", folder.display()))?;
    let seen = judge::Seen {
        identity: identity::of_app(&facts),
        warnings: loaded
            .warnings
            .iter()
            .map(|warning| warning.message.clone())
            .collect(),
    };
    let mut groups = judge::groups(&loaded.config, &seen);
    if !args.only_static {
        groups.push(trial::run(&loaded.config, context)?);
    }
    let all: Vec<Finding> = groups.iter().flat_map(|group| group.findings.clone()).collect();
    if context.json {
        context.print_json(&groups)?;
    } else {
        for group in &groups {
            let title = format!(
                "{}  {}\n",
                context.paint.bold(group.class),
                context.paint.dim(group.means)
            );
            context.print(&title)?;
            context.print(&(findings::render(&group.findings, context.paint) + "\n"))?;
        }
        context.say(&findings::summary(&all));
    }
    let any = all.iter().any(|finding| finding.level.is_finding());
    Ok(if any { Exit::Findings } else { Exit::Done })
}
