//! The servers of PostgreSQL and the proxy before them.
//!
//! Going up: the primary alone, its settings, replicas, another primary, and durability last. Going down the reverse.
//! So a synchronous database always has a replica, and a proxy always has a primary.

use banyan_config::Durability;

use super::Planner;
use crate::model::{Database, Node, Pgproxy};
use crate::plan::Step;

impl Planner<'_> {
    pub(super) fn begin_database(&mut self) {
        let Some(desired) = self.desired.database.clone() else {
            // The user's own is there already.
            self.begin_pgproxy();
            self.configure_pgproxy();
            return;
        };
        if self.at.database.is_none() {
            self.push(Step::StartDatabase(desired.alone()));
        }
        // Instances that stay go through the proxy, so what makes statements wait needs it.
        self.begin_pgproxy();
        if desired.durability == Durability::Async {
            self.durability(Durability::Async);
        }
        self.backups(&desired);
        self.settings(&desired);
        self.servers(&desired);
        self.durability(desired.durability);
        self.configure_pgproxy();
    }

    pub(super) fn end_database(&mut self) {
        if let (Some(pgproxy), None) = (self.at.pgproxy.clone(), &self.desired.pgproxy) {
            self.push(Step::StopPgproxy(pgproxy));
        }
        if let (Some(from), Some(to)) = (self.at.pgproxy.clone(), self.desired.pgproxy.clone())
            && from != to
        {
            self.push(Step::ConfigurePgproxy { from, to });
        }
        if self.at.database.is_none() || self.desired.database.is_some() {
            return;
        }
        self.durability(Durability::Async);
        self.leaving(|_| true);
        if let Some(database) = self.at.database.clone() {
            self.push(Step::StopDatabase(database));
        }
    }

    fn begin_pgproxy(&mut self) {
        // Instances of before connect to the old address until they have been replaced.
        if let (Some(from), Some(to)) = (self.at.pgproxy.clone(), &self.desired.pgproxy)
            && from.listen != to.listen
        {
            let to = from.beside(to.listen);
            self.push(Step::ConfigurePgproxy { from, to });
        }
        if let (None, Some(pgproxy)) = (&self.at.pgproxy, self.desired.pgproxy.clone()) {
            self.push(Step::StartPgproxy(pgproxy));
        }
        // One of a new program knows new settings.
        if let (Some(from), Some(to)) = (self.at.pgproxy.clone(), &self.desired.pgproxy)
            && from.program != to.program
        {
            let to = from.started_like(to);
            self.push(Step::ReplacePgproxy { from, to });
        }
    }

    /// Addresses of before are given up at the end.
    fn configure_pgproxy(&mut self) {
        if let (Some(from), Some(to)) = (self.at.pgproxy.clone(), self.desired.pgproxy.clone()) {
            let to = Pgproxy {
                before: from.before.clone(),
                ..to
            };
            if from != to {
                self.push(Step::ConfigurePgproxy { from, to });
            }
        }
    }

    /// A step of their own: they begin by storing something, which a restart has nothing to do with.
    fn backups(&mut self, desired: &Database) {
        let Some(from) = self.at.database.clone() else {
            return;
        };
        if from.backup != desired.backup {
            let to = Database {
                backup: desired.backup.clone(),
                ..from.clone()
            };
            self.push(Step::ConfigureDatabase { from, to });
        }
    }

    fn settings(&mut self, desired: &Database) {
        let Some(from) = self.at.database.clone() else {
            return;
        };
        let to = from.with_settings_of(desired);
        if from == to {
            return;
        }
        self.push(if from.restarts_for(&to) {
            Step::RestartDatabase { from, to }
        } else {
            Step::ConfigureDatabase { from, to }
        });
    }

    fn servers(&mut self, desired: &Database) {
        let replaced = |node: &Node| desired.nodes.get(&node.id).is_some_and(|wanted| wanted != node);
        self.leaving(replaced);
        self.coming(desired);
        if let Some(database) = &self.at.database
            && database.primary != desired.primary
        {
            let from = database.primary;
            self.push(Step::Switchover {
                from,
                to: desired.primary,
            });
        }
        self.leaving(|node| desired.nodes.get(&node.id) != Some(node));
        self.coming(desired);
    }

    fn leaving(&mut self, goes: impl Fn(&Node) -> bool) {
        let replicas = self.at.database.iter().flat_map(Database::replicas);
        let gone: Vec<Node> = replicas.filter(|node| goes(node)).cloned().collect();
        for node in gone.into_iter().rev() {
            self.push(Step::RemoveReplica(node));
        }
    }

    fn coming(&mut self, desired: &Database) {
        for node in desired.nodes.values() {
            let known = |database: &Database| database.nodes.contains_key(&node.id);
            if self.at.database.as_ref().is_some_and(|at| !known(at)) {
                self.push(Step::AddReplica(node.clone()));
            }
        }
    }

    fn durability(&mut self, durability: Durability) {
        let Some(from) = self.at.database.clone() else {
            return;
        };
        if from.durability != durability {
            let to = Database {
                durability,
                ..from.clone()
            };
            self.push(Step::ConfigureDatabase { from, to });
        }
    }
}
