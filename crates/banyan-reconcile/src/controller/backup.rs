//! `banyan backup now`: beside whatever else the controller does.

use banyan_runtime::Clock;
use banyan_supervisor::engine::postgres::backup::Kind;
use tokio::sync::mpsc;

use super::Done;
use super::change::done_reply;
use super::service::tell;
use crate::driver::Driver;
use crate::proto::{BackupNow, Outcome, Progress, ProgressState, Reply};

pub(super) async fn back_up(
    driver: &impl Driver,
    kind: Option<Kind>,
    replies: &mpsc::UnboundedSender<Reply>,
) {
    let began = Clock.now();
    let (sender, mut progress) = mpsc::unbounded_channel();
    let mut making = std::pin::pin!(driver.back_up(kind, sender));
    let mut last = String::new();
    let made = loop {
        tokio::select! {
            made = &mut making => break made,
            Some(now) = progress.recv() => {
                let what = words(&now);
                if what != last {
                    tell(replies, step(what.clone(), ProgressState::Begun, None));
                    last = what;
                }
            }
        }
    };
    let took = u64::try_from(Clock.now().duration_since(began).as_millis()).ok();
    let (outcome, error) = match made {
        Ok(backup) => {
            let what = format!("{} backup {}", backup.kind.name(), backup.label);
            tell(replies, step(what, ProgressState::Done, took));
            tell(replies, Reply::Backup(backup));
            (Outcome::Changed, None)
        }
        Err(why) => (Outcome::Refused, Some(why)),
    };
    let notes = Vec::new();
    tell(
        replies,
        done_reply(Done {
            outcome,
            error,
            notes,
        }),
    );
}

fn words(now: &BackupNow) -> String {
    let kind = now.kind.map_or("", Kind::name);
    let percent = now
        .percent
        .map_or(String::new(), |percent| format!(", {percent} %"));
    format!("{kind} backup{percent}")
}

fn step(what: String, state: ProgressState, took_ms: Option<u64>) -> Reply {
    Reply::Progress(Progress {
        step: 1,
        of: 1,
        what,
        state,
        took_ms,
    })
}
