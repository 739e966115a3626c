//! The rules of PostgreSQL, its servers and the proxy before them.

use banyan_config::Durability;

use super::Move;
use crate::id::InstanceId;
use crate::model::{Database, Instance, Topology};
use crate::plan::Step;

impl Move<'_> {
    /// The database is the same, or becomes the other, without a gap.
    pub(super) fn stays(&self) -> bool {
        match (&self.current.database, &self.desired.database) {
            (Some(old), Some(new)) => old.continues(new),
            _ => false,
        }
    }

    pub(super) fn wants(&self, database: &Database) -> bool {
        let desired = self.desired.database.as_ref();
        desired.is_some_and(|desired| database.continues(desired))
    }

    pub(super) fn database(&self) -> Result<(), String> {
        let runs = self.after.database.as_ref();
        if self.stays() && self.before.database.is_some() && runs.is_none() {
            return Err("the database would stop though it stays".to_owned());
        }
        let lacks = |made_for: &Topology| match (&made_for.database, runs) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(wanted), Some(runs)) => !wanted.continues(runs) && !runs.continues(wanted),
        };
        if let Some(id) = self.stranded(lacks) {
            return Err(format!("{id} would run without its database"));
        }
        let needs = self.desired.database.as_ref();
        let there = runs.is_some_and(|runs| self.wants(runs));
        if matches!(self.step, Step::RunRelease(_)) && needs.is_some() && !there {
            return Err(format!("`{}` would find no database", self.step));
        }
        Ok(())
    }

    pub(super) fn servers(&self) -> Result<(), String> {
        let Some(database) = &self.after.database else {
            return Ok(());
        };
        if !database.nodes.contains_key(&database.primary) {
            return Err(format!("the primary {} would not run", database.primary));
        }
        let synchronous = database.durability == Durability::Sync;
        let gone = matches!(self.step, Step::RemoveReplica(_) | Step::ConfigureDatabase { .. });
        if synchronous && gone && database.is_alone() {
            return Err("writes would wait for a replica, and there is none".to_owned());
        }
        let waits = matches!(self.step, Step::Switchover { .. } | Step::RestartDatabase { .. });
        if waits && self.before.pgproxy.is_none() && !self.before.instances.is_empty() {
            return Err(format!(
                "`{}` needs the proxy: without it nobody lets statements wait",
                self.step
            ));
        }
        Ok(())
    }

    pub(super) fn pgproxy(&self) -> Result<(), String> {
        let runs = self.after.pgproxy.as_ref();
        // Not this step's doing if the database had died before.
        let leads = |side: &Topology| {
            let external = side
                .pgproxy
                .as_ref()
                .is_some_and(|proxy| proxy.external.is_some());
            external || side.database.is_some()
        };
        let astray = |side: &Topology| side.pgproxy.is_some() && !leads(side);
        if astray(self.after) && !astray(self.before) {
            return Err("the proxy would lead to no database".to_owned());
        }
        let address = |side: &Topology| side.pgproxy.as_ref().map(|pgproxy| pgproxy.listen);
        let both = self.current.pgproxy.is_some() && self.desired.pgproxy.is_some();
        if both && self.stays() && self.before.pgproxy.is_some() && runs.is_none() {
            return Err("the proxy would stop though it stays".to_owned());
        }
        let accepts = |wanted| runs.is_some_and(|proxy| proxy.addresses().any(|address| address == wanted));
        let lacks = |made_for: &Topology| address(made_for).is_some_and(|wanted| !accepts(wanted));
        if let Some(id) = self.stranded(lacks) {
            return Err(format!("{id} would run without its proxy"));
        }
        let needs = address(self.desired);
        if matches!(self.step, Step::RunRelease(_)) && needs.is_some() && needs != address(self.after) {
            return Err(format!("`{}` would find no proxy", self.step));
        }
        Ok(())
    }

    /// An instance that runs although the side it was made for `lacks` something. One that stays does with either side:
    /// another database or proxy would have made it another release.
    pub(super) fn stranded(&self, lacks: impl Fn(&Topology) -> bool) -> Option<&InstanceId> {
        let stranded = |(id, instance): &(&InstanceId, &Instance)| {
            let is_in = |side: &Topology| side.instances.get(*id) == Some(*instance);
            match (is_in(self.current), is_in(self.desired)) {
                (true, true) => false,
                (true, false) => lacks(self.current),
                (false, _) => lacks(self.desired),
            }
        };
        self.after.instances.iter().find(stranded).map(|(id, _)| id)
    }
}
