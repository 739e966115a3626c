//! The edge's process: started, changed by snapshot, replaced by another without a break.
//!
//! The new process takes the listening sockets from the old one (`handover.sock`) and accepts beside it. Only when it
//! reports that it serves is the old one told to end; until then it serves as before, so a new one that fails costs
//! nothing.

use banyan_supervisor::{ChildId, StartError};
use banyan_topology::{Edge, Epoch};

use super::judge::Goal;
use super::local::{EDGE_LIMIT, Local, chain};
use super::specs::{edge_child, is_edge};
use super::{Move, StepError};

impl Local {
    pub(super) async fn start_edge(&self, edge: &Edge, step: Move<'_>) -> Result<(), StepError> {
        let epoch = self.publish(step.after)?;
        self.run_edge(edge, epoch).await?;
        self.specs.programs.keep(&[&edge.program]);
        Ok(())
    }

    /// Returns once it serves; what does not is stopped again.
    async fn run_edge(&self, edge: &Edge, epoch: Epoch) -> Result<(), StepError> {
        let provided = self.specs.programs.provide(&edge.program);
        provided.map_err(|error| StepError(chain(&error)))?;
        let spec = self.specs.edge(edge);
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
        let goal = Goal::Listens(edge.addresses().collect());
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

    pub(super) async fn replace_edge(
        &self,
        from: &Edge,
        to: &Edge,
        step: Move<'_>,
    ) -> Result<Option<String>, StepError> {
        let epoch = self.publish(step.after)?;
        if let Err(error) = self.run_edge(to, epoch).await {
            self.take_back(step.before).await;
            return Err(StepError(format!("{error}\nThe edge that ran before serves on.")));
        }
        let note = self.stop_edges(Some(&edge_child(to))).await;
        self.specs.programs.keep(&[&from.program, &to.program]);
        Ok(note)
    }

    /// Lets every edge but this one finish what is in flight, and ends it.
    pub(super) async fn stop_edges(&self, but: Option<&ChildId>) -> Option<String> {
        let mut notes = Vec::new();
        for child in self.supervisor.status().await {
            if is_edge(&child.id) && Some(&child.id) != but {
                notes.extend(self.stop(&child.id.0).await);
            }
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    pub(super) async fn configure_edge(&self, to: &Edge, step: Move<'_>) -> Result<(), StepError> {
        let epoch = self.publish(step.after)?;
        let goal = Goal::Listens(to.addresses().collect());
        let configured = self.edge.wait(&edge_child(to), epoch, &goal, EDGE_LIMIT).await;
        self.or_take_back(configured, step).await
    }
}
