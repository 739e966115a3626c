//! The rules, each over one step: from where the plan began, to where it shall lead, before and after the step.

mod database;
mod redis;

use std::collections::BTreeMap;

use crate::check::Rule;
use crate::id::ProcessName;
use crate::model::{Instance, Pgproxy, Topology};
use crate::plan::Step;

pub(super) struct Move<'a> {
    pub(super) current: &'a Topology,
    pub(super) desired: &'a Topology,
    pub(super) before: &'a Topology,
    pub(super) step: &'a Step,
    pub(super) after: &'a Topology,
}

impl Move<'_> {
    pub(super) fn judge(&self, broken: &mut impl FnMut(Rule, String)) {
        let judgements = [
            (Rule::Purpose, self.purpose()),
            (Rule::Rotation, self.rotation()),
            (Rule::Ports, self.ports()),
            (Rule::Watched, self.watched()),
            (Rule::Max, self.max()),
            (Rule::Capacity, self.capacity()),
            (Rule::Database, self.database()),
            (Rule::Servers, self.servers()),
            (Rule::Proxy, self.pgproxy()),
            (Rule::Redis, self.redis()),
            (Rule::Edge, self.edge()),
            (Rule::Released, self.released()),
        ];
        for (rule, judgement) in judgements {
            if let Err(detail) = judgement {
                broken(rule, detail);
            }
        }
    }

    fn purpose(&self) -> Result<(), String> {
        let wanted = |instance: &Instance| self.desired.instances.get(&instance.id) == Some(instance);
        let against = match self.step {
            Step::StartInstance(instance) => !wanted(instance),
            Step::StopInstance(instance) => wanted(instance),
            Step::Admit(id) => !self.desired.rotation.contains(id),
            Step::Drain(id) => {
                self.desired.rotation.contains(id) && self.before.instances.get(id).is_some_and(wanted)
            }
            Step::RunRelease(release) => !self.desired.released.contains(release),
            Step::StartDatabase(database) => !self.wants(database),
            Step::StopDatabase(database) => self.wants(database),
            Step::AddReplica(node) => {
                self.desired.database.as_ref().and_then(|d| d.nodes.get(&node.id)) != Some(node)
            }
            Step::RemoveReplica(node) => self
                .desired
                .database
                .as_ref()
                .is_some_and(|desired| desired.nodes.get(&node.id) == Some(node) && self.stays()),
            Step::Switchover { from: _, to } => {
                self.desired.database.as_ref().map(|desired| desired.primary) != Some(*to)
            }
            Step::StartPgproxy(pgproxy) => {
                self.desired.pgproxy.as_ref().map(|desired| desired.listen) != Some(pgproxy.listen)
            }
            Step::StopPgproxy(_) => self.stays() && self.desired.pgproxy.is_some(),
            Step::StartPlace { name, .. } => {
                let edge = self.desired.edge.as_ref();
                edge.is_some_and(|edge| !edge.places.contains_key(name))
            }
            Step::StopPlace { name, place } => {
                let edge = self.desired.edge.as_ref();
                edge.is_some_and(|edge| edge.places.get(name) == Some(place))
            }
            Step::StartRedis(redis) => self.desired.redis.get(&redis.purpose) != Some(redis),
            Step::StopRedis(redis) => {
                let desired = self.desired.redis.get(&redis.purpose);
                desired.is_some_and(|desired| desired.port == redis.port)
            }
            Step::StartObserve(observe) => {
                self.desired.observe.as_ref().map(|o| o.port) != Some(observe.port)
            }
            Step::StopObserve(observe) => self.desired.observe.as_ref().map(|o| o.port) == Some(observe.port),
            Step::SetRelease { .. }
            | Step::ConfigureObserve { .. }
            | Step::ConfigureProcess { .. }
            | Step::ConfigureLogs { .. }
            | Step::StartEdge(_)
            | Step::StopEdge(_)
            | Step::ConfigureEdge { .. }
            | Step::ReplaceEdge { .. }
            | Step::ConfigureDatabase { .. }
            | Step::RestartDatabase { .. }
            | Step::ReplacePgproxy { .. }
            | Step::ConfigurePgproxy { .. }
            | Step::ConfigureRedis { .. }
            | Step::RestartRedis { .. } => false,
        };
        if against {
            Err(format!("`{}` works against the wanted result", self.step))
        } else {
            Ok(())
        }
    }

    fn rotation(&self) -> Result<(), String> {
        for id in &self.after.rotation {
            if !self.after.instances.contains_key(id) {
                return Err(format!("{id} is in rotation but does not run"));
            }
            let mut edges = [&self.current.edge, &self.desired.edge].into_iter().flatten();
            let is_old = self.current.rotation.contains(id);
            if !is_old && !edges.any(|edge| edge.serves(&id.process)) {
                return Err(format!("{id} is in rotation but no edge serves {}", id.process));
            }
        }
        Ok(())
    }

    fn ports(&self) -> Result<(), String> {
        let mut holders: BTreeMap<u16, String> = BTreeMap::new();
        let edge = self
            .after
            .edge
            .iter()
            .flat_map(|edge| edge.addresses())
            .map(|address| (address.port(), "edge".to_owned()));
        let nodes = self
            .after
            .database
            .iter()
            .flat_map(|database| database.nodes.values());
        let database = nodes.map(|node| (node.port, format!("postgres {}", node.id)));
        let pgproxy = self.after.pgproxy.iter().flat_map(Pgproxy::addresses);
        let pgproxy = pgproxy.map(|address| (address.port(), "pgproxy".to_owned()));
        let instances = self
            .after
            .instances
            .values()
            .map(|instance| (instance.port, instance.id.to_string()));
        let redis = self.after.redis.values();
        let redis = redis.map(|redis| (redis.port, format!("redis of {}", redis.purpose)));
        let observe = self.after.observe.iter();
        let observe = observe.map(|observe| (observe.port, "observe".to_owned()));
        let engines = redis.chain(database).chain(pgproxy);
        for (port, name) in edge.chain(engines).chain(instances).chain(observe) {
            if let Some(other) = holders.insert(port, name.clone()) {
                return Err(format!("{other} and {name} would both have port {port}"));
            }
        }
        Ok(())
    }

    fn watched(&self) -> Result<(), String> {
        let stray = self
            .after
            .instances
            .keys()
            .find(|id| !self.after.processes.contains_key(&id.process));
        stray.map_or(Ok(()), |id| {
            Err(format!(
                "{id} would run while process {} is not known",
                id.process
            ))
        })
    }

    fn max(&self) -> Result<(), String> {
        let Step::StartInstance(Instance { id, .. }) = self.step else {
            return Ok(());
        };
        let limit = |side: &Topology| side.processes.get(&id.process).map(|process| process.max);
        let limits = [limit(self.after), limit(self.desired)];
        // The looser of the two, so that a revert may go back to where a larger number was allowed.
        let Some(max) = limits
            .into_iter()
            .flatten()
            .map(|max| max.unwrap_or(u32::MAX))
            .max()
        else {
            return Ok(());
        };
        let running = count(self.after, &id.process);
        if running > max {
            return Err(format!("{running} of {} would run; its max is {max}", id.process));
        }
        Ok(())
    }

    /// Per process, and where the edge turns from one to another, over both.
    fn capacity(&self) -> Result<(), String> {
        let Step::Drain(id) = self.step else { return Ok(()) };
        let front = |side: &Topology| side.edge.as_ref().map(|edge| edge.process.clone());
        let (old, new) = (front(self.current), front(self.desired));
        let turns = [&old, &new].contains(&&Some(id.process.clone()));
        let of = |side: &Topology, process: &Option<ProcessName>| {
            let of = side
                .rotation
                .iter()
                .filter(|id| Some(&id.process) == process.as_ref());
            of.count()
        };
        let own = Some(id.process.clone());
        let mut promises = vec![(
            of(self.current, &own).min(of(self.desired, &own)),
            of(self.after, &own),
        )];
        if turns && old != new && new.is_some() {
            let floor = of(self.current, &old).min(of(self.desired, &new));
            promises.push((floor, of(self.after, &old) + of(self.after, &new)));
        }
        let max = self
            .before
            .processes
            .get(&id.process)
            .and_then(|process| process.max);
        let no_room = max.is_some_and(|max| count(self.before, &id.process) >= max);
        for (floor, left) in promises {
            if left + usize::from(no_room) < floor {
                return Err(format!(
                    "draining {id} leaves {left} in rotation, fewer than the {floor} promised"
                ));
            }
        }
        Ok(())
    }

    fn edge(&self) -> Result<(), String> {
        let stays = self.current.edge.is_some() && self.desired.edge.is_some();
        if stays && self.before.edge.is_some() && self.after.edge.is_none() {
            return Err("the edge would stop though it stays".to_owned());
        }
        Ok(())
    }

    fn released(&self) -> Result<(), String> {
        let Step::StartInstance(Instance { id, .. }) = self.step else {
            return Ok(());
        };
        let must = self.desired.released.contains(&id.release);
        if must && !self.after.released.contains(&id.release) {
            return Err(format!(
                "{id} would start before the release command of {} has run",
                id.release
            ));
        }
        Ok(())
    }
}

fn count(topology: &Topology, process: &ProcessName) -> u32 {
    let of = topology.instances.keys().filter(|id| id.process == *process);
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}
