//! What is wrong with backups, in words: for `status` and `doctor`.

use banyan_reconcile::proto::BackupState;
use banyan_supervisor::engine::postgres::backup::moment::moment;

use super::amount;

pub(crate) fn problems(state: &BackupState) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(why) = &state.problem {
        problems.push(format!("no backup could be made: {why}"));
    }
    let waiting = amount::bytes(state.archiving.waiting_bytes);
    if state.archiving.fails() {
        problems.push(format!(
            "the log cannot be stored: {waiting} of it wait on the database's disk; `banyan logs -p postgres` says why"
        ));
    }
    let unmended = |gap_ms: &u64| state.last.as_ref().is_some_and(|last| last.start_ms < *gap_ms);
    if let Some(gap_ms) = state.gap_ms.filter(unmended) {
        problems.push(format!(
            "log was given up at {}: moments from there to the next backup cannot be restored",
            moment(gap_ms * 1000)
        ));
    }
    problems
}
