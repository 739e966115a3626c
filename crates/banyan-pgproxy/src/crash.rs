//! A primary that is lost, or that comes after one: judged by logging in there, before any unit goes on.
//!
//! It must not be in recovery, must be the same database cluster and on no older timeline than the last promotion. One
//! that refuses, or is not fit, is asked again: units wait meanwhile, until their hold's limit. A server that only closed
//! a connection answers at once, and nothing more happens.

use std::rc::Rc;
use std::time::Duration;

use banyan_runtime::TaskKind;
use banyan_topology::snapshot::pgproxy::PgNode;

use crate::backend::connect::{self, ConnectError, Login};
use crate::pool::account::{Account, address};
use crate::worker::Worker;

/// Between two questions.
const AGAIN: Duration = Duration::from_millis(25);
/// For one of them.
const LIMIT: Duration = Duration::from_secs(2);

/// The timeline is that of the file it writes: its control file names the new one only after a checkpoint, which may take
/// minutes.
const QUESTION: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
    CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN ('x' || pg_catalog.substr( \
    pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END";

/// Begins to judge the primary, if nobody does: units go on once it is fit.
pub(crate) fn judge(worker: &Rc<Worker>) {
    if !worker.gate.begin_to_judge() {
        return;
    }
    let weak = Rc::downgrade(worker);
    worker
        .tasks
        .spawn_local(TaskKind::Background, "judge of the primary", async move {
            let mut told = false;
            while let Some(worker) = weak.upgrade() {
                if !worker.gate.judges() {
                    worker.gate.end_to_judge();
                    return;
                }
                let epoch = worker.snapshot.borrow().epoch;
                let verdict = ask(&worker).await;
                // What was true of another snapshot's primary says nothing.
                if worker.gate.judges() && worker.snapshot.borrow().epoch == epoch {
                    match verdict {
                        Ok(()) => worker.gate.open(&worker),
                        Err(why) => {
                            worker.gate.confirm(&worker);
                            if !std::mem::replace(&mut told, true) {
                                tracing::warn!(why, "units wait for a primary");
                            }
                        }
                    }
                }
                drop(worker);
                tokio::time::sleep(AGAIN).await;
            }
        });
}

async fn ask(worker: &Rc<Worker>) -> Result<(), String> {
    let snapshot = std::sync::Arc::clone(&worker.snapshot.borrow());
    let Some(node) = snapshot.database.primary() else {
        return Err("nobody is primary".to_owned());
    };
    let account = worker.accounts.borrow().values().next().cloned();
    let Some(account) = account else {
        // Nobody has logged in yet, so nobody can ask, and nobody waits for the answer.
        return Ok(());
    };
    let asked = tokio::time::timeout(LIMIT, question(&account, node)).await;
    let row = match asked.map_err(|_over| "it does not answer".to_owned())? {
        Ok(row) => row,
        // It lives; what it refuses is this login.
        Err(error) if !error.is_transient() => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let bound = snapshot.database.bound.map(|bound| bound.timeline);
    fit(&row, node.system_identifier, bound)
}

async fn question(account: &Rc<Account>, node: &PgNode) -> Result<Vec<Option<String>>, ConnectError> {
    let (address, credentials) = (address(node), account.credentials.borrow().clone());
    let login = Login {
        address: &address,
        user: &account.user,
        database: &account.database,
        credentials: &credentials,
        node: node.id,
    };
    connect::question(login, QUESTION).await
}

/// The row that [`QUESTION`] brings.
fn fit(row: &[Option<String>], identifier: Option<u64>, timeline: Option<u32>) -> Result<(), String> {
    let [recovery, theirs, on] = row else {
        return Err("its answer makes no sense".to_owned());
    };
    if recovery.as_deref() != Some("f") {
        return Err("it is in recovery".to_owned());
    }
    let theirs = theirs.as_ref().and_then(|text| text.parse::<u64>().ok());
    if identifier.is_some() && theirs != identifier {
        return Err("it is another database cluster".to_owned());
    }
    let on = on.as_ref().and_then(|text| text.parse::<u32>().ok());
    match (timeline, on) {
        (Some(wanted), Some(on)) if on < wanted => Err(format!("it is on timeline {on}, before {wanted}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_must_be_the_same_cluster_out_of_recovery_and_not_on_an_old_timeline() {
        let row = |values: [&str; 3]| values.map(|value| Some(value.to_owned()));
        assert_eq!(fit(&row(["f", "7", "2"]), Some(7), Some(2)), Ok(()));
        assert!(fit(&row(["f", "7", "2"]), Some(7), Some(3)).is_err());
        assert_eq!(fit(&row(["f", "7", "1"]), None, None), Ok(()));
        assert!(fit(&row(["t", "7", "2"]), Some(7), None).is_err());
        assert!(fit(&row(["f", "8", "2"]), Some(7), None).is_err());
        assert!(fit(&row(["f", "7", "1"]), Some(7), Some(3)).is_err());
        assert!(fit(&[], None, None).is_err());
    }
}
