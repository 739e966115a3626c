//! Makes the view, each second, while somebody looks: over HTTP, or in the terminal by the socket `.banyan/observe.sock`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use banyan_runtime::control::{self, Connection, Listener};
use banyan_runtime::task;
use banyan_topology::signals::Signals;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::alert::{Book, Shown};
use crate::collect::Rounds;
use crate::control::Parts;
use crate::marks::Mark;
use crate::view::{View, view};
use crate::view_socket;

/// How soon it is seen that somebody looks.
const GLANCE: Duration = Duration::from_millis(200);
/// For the PostgreSQL proxy to say what it counts, and for a first view.
const LIMIT: Duration = Duration::from_secs(3);

/// Until the role ends.
pub(crate) async fn run(parts: Parts) {
    loop {
        sleep(GLANCE).await;
        if parts.views.receiver_count() == 0 {
            continue;
        }
        let mut rounds = parts.rounds.subscribe();
        while parts.views.receiver_count() > 0 {
            let seen = look(&parts, &mut rounds).await;
            parts.views.send_replace(Some(Arc::new(seen)));
            let _late = timeout(LIMIT, rounds.changed()).await;
        }
        // What was seen is old when somebody looks again.
        parts.views.send_replace(None);
    }
}

async fn look(parts: &Parts, rounds: &mut watch::Receiver<Rounds>) -> View {
    let snapshot = Arc::clone(&parts.snapshot.borrow());
    let signals = match snapshot.layout.pgproxy {
        Some(_) => timeout(LIMIT, signals(&parts.places.state_dir))
            .await
            .ok()
            .flatten(),
        None => None,
    };
    let (marks, shown) = (marks(parts).await, shown(parts).await);
    let rounds = rounds.borrow_and_update().clone();
    view(&snapshot, &rounds.figures(), signals.as_ref(), &shown, marks)
}

/// What the PostgreSQL proxy counts.
async fn signals(state_dir: &Path) -> Option<Signals> {
    let mut connection = Connection::connect(&state_dir.join("pgproxy.sock")).await.ok()?;
    connection.receive().await.ok().flatten()
}

/// What was done and what happened, oldest first.
pub(crate) async fn marks(parts: &Parts) -> Vec<Mark> {
    let mut all = done(parts).await;
    all.extend(parts.happened.borrow().iter().cloned());
    all.sort_by_key(|mark| mark.at_ms);
    all
}

async fn done(parts: &Parts) -> Vec<Mark> {
    let folder = parts.places.state_dir.join("journal");
    let mut journals = parts.journals.borrow().clone();
    let read = task::blocking(move || {
        journals.read(&folder);
        journals
    });
    let Ok(journals) = read.await else {
        return Vec::new();
    };
    let marks = journals.marks();
    parts.journals.send_replace(journals);
    marks
}

/// What fires; nothing, where that cannot be read: who judges it says so.
async fn shown(parts: &Parts) -> Shown {
    let book = Book::at(&parts.places.state_dir);
    let read = task::blocking(move || book.shown(0)).await;
    read.ok().and_then(Result::ok).unwrap_or_default()
}

impl Parts {
    /// The next one; `None`: it takes too long.
    pub(crate) async fn view(&self) -> Option<Arc<View>> {
        let mut views = self.views.subscribe();
        let seen = timeout(LIMIT, views.wait_for(Option::is_some)).await;
        seen.ok()?.ok()?.clone()
    }
}

/// For the terminal.
pub(crate) async fn tell(parts: Parts) {
    match Listener::bind(&view_socket(&parts.places.state_dir)) {
        Ok(listener) => {
            let say = async || {
                Some(
                    parts
                        .view()
                        .await
                        .map(|view| View::clone(&view))
                        .unwrap_or_default(),
                )
            };
            control::tell(&listener, "view", say).await;
        }
        Err(error) => tracing::warn!(%error, "the terminal cannot be shown what there is"),
    }
}
