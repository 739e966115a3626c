//! What earlier processes left on the disk, and how far it may be used: as their journals and the controller's log say.

use std::collections::HashMap;
use std::io;
use std::sync::{MutexGuard, PoisonError};

use banyan_httpcache::Time;
use banyan_httpcache::purge::{Mode, Target};

use super::file::Written;
use super::journal::{Journal, Other};
use super::{Disk, Shared};
use crate::cache::store::Store;

/// Which processes' objects are of use.
pub(super) struct Past {
    epoch: u32,
    /// `None`: nobody has looked yet. With whether nothing can be missing in their rows.
    eras: Option<HashMap<u64, bool>>,
}

/// What an object on the disk is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Worth {
    /// All purges since it was asked for are known.
    Sound,
    /// All that were acknowledged are; what unsafe requests made untrue may not be. So it is validated.
    Unsure,
    /// What was purged since is not known.
    Nothing,
    /// Not yet, or not for this process.
    NotNow,
}

impl Past {
    /// Of a process of this epoch.
    pub(super) fn of(epoch: u32) -> Self {
        Self { epoch, eras: None }
    }

    fn worth(&self, era: u64, born: u64) -> Worth {
        let Some(eras) = &self.eras else {
            return Worth::NotNow;
        };
        match eras.get(&era) {
            Some(true) => Worth::Sound,
            Some(false) => Worth::Unsure,
            // A later process's.
            None if born >> 32 > u64::from(self.epoch) => Worth::NotNow,
            None => Worth::Nothing,
        }
    }

    fn know(&mut self, known: &[(u64, bool)]) {
        let eras = self.eras.get_or_insert_default();
        for (era, sure) in known {
            *eras.entry(*era).or_default() |= sure;
        }
    }
}

impl Shared {
    pub(super) fn worth(&self, written: &Written) -> Worth {
        if written.era == self.era {
            return Worth::Sound;
        }
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.worth(written.era, written.born)
    }

    fn know(&self, eras: &[(u64, bool)]) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.know(eras);
    }
}

impl Disk {
    pub(in crate::cache) fn journal(&self) -> MutexGuard<'_, Journal> {
        // A line is written whole, or the journal gives itself up.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_looked(&self) -> bool {
        let past = self.shared.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.eras.is_some()
    }
}

impl Store {
    /// Takes over what processes before this one knew of purges; again when one has ended. `since`: what the controller's log
    /// has had since; `None`: that is not known. To be called before anything is read from the disk, and now and then.
    pub(crate) fn look_at_the_past(
        &self,
        now: Time,
        since: impl Fn(&str, u64) -> Option<Vec<(Target, Mode)>>,
    ) {
        let Some(disk) = self.disk() else {
            return;
        };
        let others = disk.journal().others();
        let first = !disk.has_looked();
        for other in others.into_iter().filter(|other| first || other.is_dead()) {
            self.take_over(disk, other, now, &since);
        }
        disk.shared.know(&[]);
    }

    fn take_over(
        &self,
        disk: &Disk,
        other: Other,
        now: Time,
        since: &impl Fn(&str, u64) -> Option<Vec<(Target, Mode)>>,
    ) {
        let past = disk.journal().past(&other);
        if let Some(past) = past
            && let Some(missed) = since(&past.log, past.seq)
        {
            self.note(&past.rows);
            for (target, mode) in missed {
                self.purge(&target, mode, now);
            }
            disk.shared.know(&past.eras);
            disk.journal().note_eras(&past.eras);
        }
        if other.is_dead()
            && let Err(error) = self.settle().and_then(|()| other.remove())
        {
            tracing::warn!(%error, "what was purged before the start of this process stays in its file");
        }
    }

    /// The controller's log is applied up to here. Once it returns, no later process uses anything that was purged.
    pub(crate) fn settle_log(&self, log: &str, seq: u64) -> io::Result<()> {
        if let Some(disk) = self.disk() {
            disk.journal().note_log(log, seq);
        }
        self.settle()
    }

    /// Whether [`Store::settle_log`] failed, or would have.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.disk().is_some_and(|disk| disk.journal().is_left())
    }

    fn settle(&self) -> io::Result<()> {
        let Some(disk) = self.disk() else {
            return Ok(());
        };
        self.shorten(disk);
        let file = disk.journal().unsettled()?;
        // Whoever adds to it meanwhile does not wait.
        let Some(Err(error)) = file.map(|file| file.sync_data()) else {
            return Ok(());
        };
        let mut journal = disk.journal();
        journal.lost(&error);
        journal.unsettled().map(drop)
    }

    /// Once most of its lines are of no interest any more.
    fn shorten(&self, disk: &Disk) {
        if !disk.journal().is_long(self.purges_known()) {
            return;
        }
        disk.journal().begin_anew();
        let rows = self.noted();
        for some in rows.chunks(1024) {
            disk.journal().note(some);
        }
        disk.journal().end_anew();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_worth_what_is_known_of_the_process_that_wrote_it() {
        let mut past = Past::of(3);
        assert_eq!(past.worth(7, 2 << 32), Worth::NotNow);
        past.know(&[(7, false)]);
        assert_eq!(past.worth(7, 2 << 32), Worth::Unsure);
        past.know(&[(7, true), (8, true)]);
        past.know(&[(7, false)]);
        assert_eq!(past.worth(7, 2 << 32), Worth::Sound);
        assert_eq!(past.worth(9, (3 << 32) + 5), Worth::Nothing);
        assert_eq!(past.worth(9, 4 << 32), Worth::NotNow);
    }
}
