//! The edge's process: started, changed by snapshot, replaced by another without a break.
//!
//! The new process takes the listening sockets from the old one (`handover.sock`) and accepts beside it. Only when it
//! reports that it serves is the old one told to end; until then it serves as before, so a new one that fails costs
//! nothing. With several places each has a process; a change is done when it holds at all of them.

use banyan_supervisor::{ChildId, StartError};
use banyan_topology::{Edge, Epoch, PlaceName};

use super::judge::Goal;
use super::local::{EDGE_LIMIT, Local, chain};
use super::specs::{edge_at, edge_child, is_edge};
use super::{Move, StepError};

impl Local {
    pub(super) async fn start_edge(&self, edge: &Edge, step: Move<'_>) -> Result<(), StepError> {
        let epoch = self.publish(step.after)?;
        self.run_edges(edge, epoch).await?;
        self.keep_programs(step);
        Ok(())
    }

    /// Starts it at every place. When one fails, those that were started for it stop.
    async fn run_edges(&self, edge: &Edge, epoch: Epoch) -> Result<(), StepError> {
        let mut started: Vec<ChildId> = Vec::new();
        for place in edge.everywhere() {
            if let Err(error) = self.run_edge(edge, place, epoch).await {
                for child in started.iter().rev() {
                    self.supervisor.stop(child).await;
                }
                return Err(match place {
                    Some(place) => StepError(format!("at place {place}: {error}")),
                    None => error,
                });
            }
            started.push(edge_child(edge, place));
        }
        Ok(())
    }

    /// Returns once it serves; what does not is stopped again.
    async fn run_edge(&self, edge: &Edge, place: Option<&PlaceName>, epoch: Epoch) -> Result<(), StepError> {
        let provided = self.specs.programs.provide(&edge.program);
        provided.map_err(|error| StepError(chain(&error)))?;
        let spec = self.specs.edge(edge, place);
        let id = spec.id.clone();
        match self.supervisor.start(spec).await {
            Ok(()) | Err(StartError::Exists(_)) => {}
            Err(error) => return Err(StepError(chain(&error))),
        }
        let exits = async {
            match self.supervisor.ready(&id).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error.to_string(),
            }
        };
        let goal = Goal::Listens(edge.addresses_at(place));
        let failure = tokio::select! {
            listens = self.edge.wait(&id, epoch, &goal, EDGE_LIMIT) => match listens {
                // It listens; `status` is not to call it starting a moment later.
                Ok(()) => match self.supervisor.ready(&id).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            },
            exited = exits => exited,
        };
        self.supervisor.stop(&id).await;
        Err(StepError(failure))
    }

    pub(super) async fn replace_edge(&self, to: &Edge, step: Move<'_>) -> Result<Option<String>, StepError> {
        let epoch = self.publish(step.after)?;
        if let Err(error) = self.run_edges(to, epoch).await {
            self.take_back(step.before).await;
            return Err(StepError(format!("{error}\nThe edge that ran before serves on.")));
        }
        let new: Vec<ChildId> = to.everywhere().map(|place| edge_child(to, place)).collect();
        let note = self.stop_edges(|child| !new.contains(child)).await;
        self.keep_programs(step);
        Ok(note)
    }

    /// Lets these edges finish what is in flight, and ends them.
    pub(super) async fn stop_edges(&self, which: impl Fn(&ChildId) -> bool) -> Option<String> {
        self.stop_all(|child| is_edge(child) && which(child)).await
    }

    pub(super) async fn configure_edge(&self, to: &Edge, step: Move<'_>) -> Result<(), StepError> {
        let epoch = self.publish(step.after)?;
        let goal = |place: Option<&PlaceName>| Goal::Listens(to.addresses_at(place));
        let configured = self.edge.everywhere(to, epoch, goal, EDGE_LIMIT).await;
        self.or_take_back(configured, step).await
    }

    pub(super) async fn start_place(&self, name: &PlaceName, step: Move<'_>) -> Result<(), StepError> {
        let Some(edge) = &step.after.edge else {
            return Ok(());
        };
        let epoch = self.publish(step.after)?;
        if let Err(error) = self.run_edge(edge, Some(name), epoch).await {
            self.take_back(step.before).await;
            return Err(error);
        }
        Ok(())
    }

    /// The snapshot names it until it has ended: it drains by what it knows.
    pub(super) async fn stop_place(
        &self,
        name: &PlaceName,
        step: Move<'_>,
    ) -> Result<Option<String>, StepError> {
        let there = |child: &ChildId| edge_at(child) == Some(Some(name.clone()));
        let note = self.stop_edges(there).await;
        self.publish(step.after)?;
        Ok(note)
    }
}
