//! `banyan up --detach`: starts the controller in a session of its own and shows its progress until it serves.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

use super::audience::{Person, Said};
use crate::client::TICK;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::error::{advised, from_controller};

pub(crate) fn run(context: &Context) -> anyhow::Result<Exit> {
    let state = context.place.state()?;
    state
        .prepare()
        .with_context(|| format!("failed to prepare {}", state.path().display()))?;
    let log = state.logs().join("controller.log");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("failed to open {}", log.display()))?;
    let mut child = start(context, file).context("failed to start the controller in the background")?;
    let stdout = child
        .stdout
        .take()
        .context("the background controller has no stdout")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
        let lines = BufReader::new(pipe).lines();
        tokio::select! {
            result = listen(lines, context) => result,
            _ = tokio::signal::ctrl_c() => Err(interrupted(context)),
        }
    });
    match result? {
        true => Ok(Exit::Done),
        false => {
            let exit = child.wait().map(|status| status.to_string()).unwrap_or_default();
            Err(advised(
                anyhow::anyhow!("the background controller ended before it served ({exit})"),
                format!("see {}", log.display()),
            ))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the controller itself is nobody's child: it has no supervisor that could start it"
)]
fn start(context: &Context, log: File) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(context.place.arguments())
        .args((0..context.verbose).map(|_| "-v"))
        .args(["--color", "never", "controller"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
}

/// Until it serves (true), fails (error) or is gone (false).
async fn listen(mut lines: Lines<BufReader<pipe::Receiver>>, context: &Context) -> anyhow::Result<bool> {
    let mut person = Person::new(context);
    let stop = format!("{} down", context.place.command());
    loop {
        let mut next = std::pin::pin!(lines.next_line());
        let line = loop {
            tokio::select! {
                line = &mut next => break line?,
                () = tokio::time::sleep(TICK) => person.tick(),
            }
        };
        let Some(line) = line else {
            person.settle();
            return Ok(false);
        };
        match serde_json::from_str(&line).context("the background controller said something unexpected")? {
            Said::Progress { progress } => person.progress(&progress),
            Said::Note { text } => person.note(&text),
            Said::Serving { summary } => {
                person.serving(&summary, &stop);
                return Ok(true);
            }
            Said::Failed { text } => {
                person.settle();
                return Err(from_controller(&text));
            }
        }
    }
}

fn interrupted(context: &Context) -> anyhow::Error {
    let banyan = context.place.command();
    advised(
        anyhow::anyhow!("interrupted; the controller goes on in the background"),
        format!("`{banyan} down` stops it, `{banyan} status` shows it"),
    )
}
