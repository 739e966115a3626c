//! `banyan run`: a command beside the instances, with their environment, user and folder. Asks no controller and takes no
//! lock: all it needs is in the state folder and the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use banyan_runtime::watched::{self, WatchedError};
use banyan_supervisor::ChildSpec;
use banyan_supervisor::engine::app;
use banyan_topology::resolve::{self, ResolveError};
use banyan_topology::{ProcessName, Release, Topology};

use super::StepError;
use super::local::chain;
use super::specs::Specs;
use crate::controller::Loaded;
use crate::facts::{self, FactsError};
use crate::intent::Intent;
use crate::paths::StateDir;
use crate::releases::{ReleaseError, Releases};

pub struct OneOff<'a> {
    pub state: &'a StateDir,
    pub loaded: &'a Loaded,
    /// As for the controller: `PATH` and the like.
    pub base_env: BTreeMap<String, String>,
    /// Whose environment; `None`: of the one that gets the requests, else of the first.
    pub process: Option<&'a str>,
    pub argv: Vec<String>,
    /// Its `PORT`.
    pub port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum OneOffError {
    #[error("the database of the app does not run")]
    DatabaseDown,
    #[error("there is no process `{wanted}`; there is {}", known.join(", "))]
    NoProcess { wanted: String, known: Vec<String> },
    #[error("failed to prepare the state folder {path}")]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Content(#[from] WatchedError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Step(#[from] StepError),
}

impl OneOff<'_> {
    /// Of the release that serves; of the configuration's when none does.
    pub async fn prepare(self) -> Result<ChildSpec, OneOffError> {
        let topology = watched::read(&self.state.topology())?;
        let topology: Topology =
            topology.unwrap_or_else(|| Topology::nothing(self.loaded.config.name.clone()));
        let specs = Specs::at(self.state.clone(), PathBuf::new(), self.base_env.clone());
        let release = match topology.release {
            Some(serving) => Releases::new(self.state.releases()).get(serving)?,
            None => self.configured(&topology)?,
        };
        let process = self.process(&release, &topology)?;
        check_database(&specs, &release, &topology).await?;
        if topology.release.is_none() {
            specs.prepare_for(&release, &topology, self.loaded)?;
        }
        Ok(specs.within(&release, &topology, self.loaded, |context| {
            app::one_off(context, &process, self.port, self.argv)
        })?)
    }

    fn configured(&self, current: &Topology) -> Result<Release, OneOffError> {
        self.state.prepare().map_err(|source| OneOffError::State {
            path: self.state.path().to_owned(),
            source,
        })?;
        let intent = Intent::read(&self.state.intent())?;
        let kept = Releases::new(self.state.releases()).all()?;
        let facts = facts::gather(self.loaded, self.state, current, &intent, kept)?;
        Ok(resolve::resolve_release(&self.loaded.config, &facts, current)?)
    }

    fn process(&self, release: &Release, topology: &Topology) -> Result<ProcessName, OneOffError> {
        let running = topology.edge.as_ref().map(|edge| &edge.process);
        let configured = self.loaded.config.edge.as_ref().map(|edge| &edge.process);
        let wanted = match self.process {
            Some(name) => Some(name),
            None => running.or(configured).map(ProcessName::as_str),
        };
        let mut known = release.commands.keys();
        let found = match wanted {
            Some(wanted) => known.find(|name| name.as_str() == wanted),
            None => known.next(),
        };
        found.cloned().ok_or_else(|| OneOffError::NoProcess {
            wanted: wanted.unwrap_or_default().to_owned(),
            known: release.commands.keys().map(ToString::to_string).collect(),
        })
    }
}

/// That the managed one answers, if the release has one: what topology.json says may be from before a reboot.
async fn check_database(specs: &Specs, release: &Release, topology: &Topology) -> Result<(), OneOffError> {
    let answers = match &topology.database {
        Some(database) => {
            let server = specs.server(database, database.primary, topology.app.as_str())?;
            let answers = server.answers().await;
            answers.map_err(|error| StepError(chain(&error)))?
        }
        // The app says so itself if it does not answer.
        None if topology
            .pgproxy
            .as_ref()
            .is_some_and(|proxy| proxy.external.is_some()) =>
        {
            true
        }
        None => {
            let url = release.database_url.iter();
            !url.flat_map(|url| url.placeholders())
                .any(|placeholder| placeholder.is_database())
        }
    };
    if answers {
        Ok(())
    } else {
        Err(OneOffError::DatabaseDown)
    }
}
