//! Steps that are about instances of the app: release command, start, into the rotation and out of it.

use std::time::Duration;

use banyan_supervisor::{ChildSpec, StartError};
use banyan_topology::{Instance, InstanceId, Process, ReleaseId, Topology};

use super::judge::Goal;
use super::local::{EDGE_LIMIT, Local, chain};
use super::{Move, StepError, wait};

/// A release command that takes longer is taken for stuck.
const RELEASE_LIMIT: Duration = Duration::from_secs(3600);
/// Beyond an instance's own graces: the edge checks a new instance at once, then each interval.
const ADMIT_LIMIT: Duration = Duration::from_secs(30);

impl Local {
    pub(super) async fn run_release(&self, release: ReleaseId, topology: &Topology) -> Result<(), StepError> {
        let loaded = self.equipment()?;
        self.specs.prepare(release, topology, &loaded)?;
        let Some(spec) = self.specs.release_command(release, topology, &loaded)? else {
            return Ok(());
        };
        let log = spec.log.clone();
        let outcome = self
            .supervisor
            .run(spec, RELEASE_LIMIT)
            .await
            .map_err(|error| StepError(chain(&error)))?;
        if outcome.success {
            return Ok(());
        }
        Err(StepError(format!(
            "{}\n{}\nits log: {}",
            outcome.exit,
            outcome.log_tail.trim_end(),
            log.display()
        )))
    }

    pub(super) async fn start_instance(
        &self,
        instance: &Instance,
        topology: &Topology,
    ) -> Result<(), StepError> {
        let loaded = self.equipment()?;
        self.specs.prepare(instance.id.release, topology, &loaded)?;
        let spec = self.specs.instance(instance, topology, &loaded)?;
        self.start_and_wait(spec).await
    }

    /// Finds what runs already under that name: a killed controller may have started it. What does not become ready
    /// is stopped again.
    async fn start_and_wait(&self, spec: ChildSpec) -> Result<(), StepError> {
        let id = spec.id.clone();
        match self.supervisor.start(spec).await {
            Ok(()) | Err(StartError::Exists(_)) => {}
            Err(error) => return Err(StepError(chain(&error))),
        }
        if let Err(error) = self.supervisor.ready(&id).await {
            self.supervisor.stop(&id).await;
            return Err(StepError(format!(
                "{}\nits log: {}",
                error.to_string().trim_end(),
                self.specs.log(&id.0).display()
            )));
        }
        Ok(())
    }

    pub(super) async fn admit(&self, id: &InstanceId, step: Move<'_>) -> Result<(), StepError> {
        let Some(edge) = &step.before.edge else {
            return Ok(());
        };
        let epoch = self.publish(step.after)?;
        let goal = |_: Option<&_>| Goal::Admitted(id.clone());
        let admitted = self.edge.everywhere(edge, epoch, goal, ADMIT_LIMIT).await;
        self.or_take_back(admitted, step).await
    }

    pub(super) async fn drain(&self, id: &InstanceId, step: Move<'_>) -> Result<Option<String>, StepError> {
        let Some(edge) = &step.before.edge else {
            return Ok(None);
        };
        let epoch = self.publish(step.after)?;
        let process = step.before.processes.get(&id.process);
        let grace = process.map_or(ADMIT_LIMIT, |process| process.settings.stop_grace);
        let goal = |_: Option<&_>| Goal::Drained(id.clone());
        match self
            .edge
            .everywhere(edge, epoch, goal, grace.max(EDGE_LIMIT))
            .await
        {
            Ok(()) => Ok(None),
            Err(wait::Unmet::InTime {
                reason,
                reached: true,
            }) => Ok(Some(format!(
                "{id} is stopped although {reason} after {grace:?} (stop_grace)"
            ))),
            Err(error) => {
                self.take_back(step.before).await;
                Err(StepError(error.to_string()))
            }
        }
    }

    /// New probes and graces for what runs, and for the edge's own checks.
    pub(super) async fn configure_process(&self, to: &Process, after: &Topology) -> Result<(), StepError> {
        let loaded = self.equipment()?;
        let of_it = after
            .instances
            .values()
            .filter(|instance| instance.id.process == to.name);
        for instance in of_it {
            self.supervisor
                .configure(self.specs.instance(instance, after, &loaded)?)
                .await;
        }
        self.publish(after).map(drop)
    }
}
