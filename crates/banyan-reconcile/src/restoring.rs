//! What bringing data back needs of an installation: it may run, be down, or be gone but for its configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use banyan_config::{BackupSettings, Database};
use banyan_runtime::watched;
use banyan_supervisor::RunAs;
use banyan_supervisor::engine::postgres::backup::Catalogue;
use banyan_supervisor::engine::postgres::backup::program::{self, RepositoryError};
use banyan_supervisor::engine::postgres::backup::restore::{Restore, Target};
use banyan_supervisor::engine::postgres::{self, PostgresError};
use banyan_topology::{NodeId, Topology, resolve};

use crate::controller::Loaded;
use crate::driver::{Specs, StepError};
use crate::intent::Intent;
use crate::paths::StateDir;

/// What is written at this moment is stored within this, or not at all.
const STORED: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("banyan.toml has no [database.backup], so there are no backups")]
    NotConfigured,
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// Where the backups of an installation are, and who may read them.
#[derive(Clone, Debug)]
pub struct Source {
    pub settings: BackupSettings,
    stanza: String,
    app: String,
    run_as: RunAs,
    version: Option<u32>,
    /// Of the data, as configured.
    dir: Option<PathBuf>,
}

impl Source {
    pub fn of(loaded: &Loaded) -> Result<Self, SourceError> {
        let Some(Database::Managed(table)) = &loaded.config.database else {
            return Err(SourceError::NotConfigured);
        };
        let settings = table.backup.as_deref().ok_or(SourceError::NotConfigured)?;
        Ok(Self {
            settings: settings.clone(),
            stanza: resolve::database_name(table, &loaded.config.name),
            app: loaded.config.name.to_string(),
            run_as: postgres::run_as()?,
            version: table.postgres,
            dir: table.dir.clone(),
        })
    }

    /// Blocking.
    pub fn catalogue(&self) -> Result<Catalogue, SourceError> {
        Ok(program::catalogue(
            &self.settings.path,
            &self.stanza,
            &self.run_as,
        )?)
    }

    /// Blocking. With the programs of the version that made the backups.
    pub fn restore(&self, target: Target, into: PathBuf, state: &StateDir) -> Result<Restore, SourceError> {
        let version = self.catalogue()?.version.or(self.version);
        let installed = postgres::choose(&postgres::installed(&[]), version, None)?;
        Ok(Restore {
            repository: self.settings.path.clone(),
            stanza: self.stanza.clone(),
            target,
            into,
            bin: installed.bin,
            run_as: self.run_as.clone(),
            processes: self.settings.processes,
            secrets: state.secrets(),
        })
    }

    /// The installation's own data directory: of the server that was primary last. Its parent is made.
    pub fn own_place(&self, state: &StateDir) -> Result<PathBuf, SourceError> {
        let intent = Intent::read(&state.intent()).unwrap_or_default();
        let node = intent.primary.unwrap_or(NodeId::FIRST);
        let dir = match intent.nodes.contains_key(&node) {
            true => intent.dirs.get(&node),
            false => self.dir.as_ref(),
        };
        Ok(postgres::place(
            state.path(),
            &self.app,
            &self.run_as,
            node,
            dir.map(PathBuf::as_path),
        )?)
    }
}

/// Has the primary store what it has written so far, if there is one that answers (true).
pub async fn store_log(state: &StateDir) -> Result<bool, StepError> {
    let topology: Option<Topology> = watched::read(&state.topology()).ok().flatten();
    let Some(topology) = topology else {
        return Ok(false);
    };
    let Some(database) = topology
        .database
        .as_ref()
        .filter(|database| database.backup.is_some())
    else {
        return Ok(false);
    };
    let specs = Specs::at(state.clone(), PathBuf::new(), BTreeMap::new());
    let server = specs.server(database, database.primary, topology.app.as_str())?;
    let failed = |error| StepError(crate::driver::chain(&error));
    if !server.answers().await.map_err(failed)? {
        return Ok(false);
    }
    server.store_log(STORED).await.map_err(failed)?;
    Ok(true)
}
