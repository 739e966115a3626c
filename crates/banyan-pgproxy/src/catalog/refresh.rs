//! Keeps the catalog of the primary: read again when definitions have changed, when a name is not known, and each minute.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_postgres::Client;

use banyan_runtime::{Clock, Tasks};

use super::load::{LoadError, load};
use super::{Catalog, Rows};
use crate::fresh::entrance::EnterError;
use crate::fresh::{Entrance, Fresh};
use crate::parse::PostgresGrammar;

/// For definitions changed by others than this proxy.
const PERIOD: Duration = Duration::from_secs(60);
/// Between two readings for names that are not known: garbage in statements must not keep the server busy.
const PAUSE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) enum Refresh {
    Now,
    Soon,
    /// Another primary; None: there is none.
    From(Option<Box<Entrance>>),
}

pub(crate) struct Keeper {
    pub(crate) fresh: Arc<Fresh>,
    pub(crate) catalog: watch::Sender<Option<Arc<Catalog>>>,
    pub(crate) asked: mpsc::UnboundedReceiver<Refresh>,
    pub(crate) tasks: Tasks,
}

#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("failed to connect to the primary")]
    Connect(#[source] EnterError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the primary did not answer in time")]
    Late,
    #[error("failed to make a catalog of what was read")]
    Build,
}

impl Keeper {
    pub(crate) async fn run(mut self) {
        let mut login: Option<Box<Entrance>> = None;
        let mut client = None;
        let mut wait = PERIOD;
        loop {
            let mut due = false;
            match tokio::time::timeout(wait, self.asked.recv()).await {
                Ok(None) => return,
                Ok(Some(Refresh::Now)) | Err(_) => due = true,
                Ok(Some(Refresh::Soon)) => tokio::time::sleep(PAUSE).await,
                Ok(Some(Refresh::From(new))) => (login, client) = (new, None),
            }
            // What came meanwhile is answered by the same reading.
            while let Ok(more) = self.asked.try_recv() {
                if let Refresh::From(new) = more {
                    (login, client) = (new, None);
                }
            }
            wait = PERIOD;
            let Some(login) = &login else { continue };
            let known = self.catalog.borrow().as_deref().map(Catalog::generation);
            due |= known != Some(self.fresh.marks.definitions()) || wait == PERIOD;
            if due && let Err(error) = self.refresh(login, &mut client).await {
                tracing::warn!(
                    error = with_causes(&error),
                    "definitions could not be read: everything goes to the primary, and servers are asked after each unit what it left in the session"
                );
                client = None;
                wait = AGAIN;
            }
        }
    }

    async fn refresh(&self, login: &Entrance, client: &mut Option<Client>) -> Result<(), RefreshError> {
        let start = Clock.now();
        loop {
            let generation = self.fresh.marks.definitions();
            let reading = async {
                if client.as_ref().is_none_or(Client::is_closed) {
                    let made = login.enter(&self.tasks, "catalog connection").await;
                    *client = Some(made.map_err(RefreshError::Connect)?);
                }
                match client {
                    Some(client) => Ok(load(client).await?),
                    None => Ok(Rows::default()),
                }
            };
            let rows: Result<Rows, RefreshError> = tokio::time::timeout(LIMIT, reading)
                .await
                .map_err(|_| RefreshError::Late)?;
            let rows = rows?;
            let building = self
                .tasks
                .spawn_blocking(move || Catalog::build(generation, rows, &PostgresGrammar));
            let catalog = building.await.map_err(|_| RefreshError::Build)?;
            self.catalog.send_replace(Some(Arc::new(catalog)));
            if self.fresh.marks.definitions() == generation {
                let took = Clock.now().saturating_duration_since(start);
                tracing::debug!(generation, ?took, "definitions were read");
                return Ok(());
            }
        }
    }
}

/// With its causes, on one line.
fn with_causes(error: &RefreshError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
