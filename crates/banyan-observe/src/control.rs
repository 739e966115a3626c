//! Follows snapshots, runs what collects, keeps and shows, and reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banyan_runtime::control::{self, Listener};
use banyan_runtime::watched::{self, Watch};
use banyan_runtime::{Clock, Shutdown, TaskKind, Tasks, reporter};
use banyan_topology::report::{ObserveReport, RoleReport};
use banyan_topology::snapshot::ObserveSnapshot;
use tokio::sync::watch;

use crate::alert;
use crate::collect::{self, Places, Rounds};
use crate::happened;
use crate::keep::Keeper;
use crate::look;
use crate::marks::{Journals, Mark};
use crate::otlp::serve::{self, Problem};
use crate::page::{self, Listening};
use crate::view::View;
use crate::{Config, Error, traces, usage, usage_socket, view_socket};

/// After the end was asked for, connections of people who look are closed.
const END: Duration = Duration::from_millis(200);

/// What every part of the role may use; cheap to clone.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) tasks: Tasks,
    pub(crate) keeper: Keeper,
    pub(crate) places: Places,
    /// What there is to be seen.
    pub(crate) snapshot: watch::Receiver<Arc<ObserveSnapshot>>,
    /// While somebody has a receiver of it, there is one each second.
    pub(crate) rounds: Arc<watch::Sender<Rounds>>,
    /// The same of what people see.
    pub(crate) views: Arc<watch::Sender<Option<Arc<View>>>>,
    /// As they were read last.
    pub(crate) journals: Arc<watch::Sender<Journals>>,
    /// What nobody asked for, oldest first.
    pub(crate) happened: Arc<watch::Sender<Vec<Mark>>>,
}

pub(crate) async fn run(
    config: Config,
    reports: watch::Sender<ObserveReport>,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    let (trigger, _inner) = banyan_runtime::shutdown::channel();
    let tasks = Tasks::new(trigger);
    let mut watch = Watch::new(&config.snapshot_path())?;
    let reporter = reporter::report(config.report_path(), reports.subscribe(), |report| {
        RoleReport::Observe(Box::new(report))
    });
    tasks.spawn(TaskKind::Background, "report", reporter);
    let Some(first) = first(&mut watch, &mut shutdown).await else {
        return Ok(());
    };
    let keeper = Keeper::start(&tasks, config.series_dir(), first.settings.clone());
    let (snapshots, snapshot) = watch::channel(Arc::new(first));
    let started_unix_ms = Clock.unix_ms();
    let own = format!("{}-{started_unix_ms}.sock", std::process::id());
    let parts = Parts {
        keeper,
        places: Places {
            own: config.metrics_dir().join(own),
            folder: config.metrics_dir(),
            state_dir: config.state_dir.clone(),
            started_unix_ms,
            busy: Arc::default(),
            spans_dropped: Arc::default(),
            exemplars: Arc::default(),
        },
        tasks,
        snapshot,
        rounds: Arc::default(),
        views: Arc::default(),
        journals: Arc::default(),
        happened: Arc::default(),
    };
    let listens = start(&parts);
    loop {
        report(&parts, &listens, &reports).await;
        tokio::select! {
            () = watch.changed() => follow(&watch, &snapshots, &parts.keeper).await,
            () = shutdown.draining() => break,
        }
    }
    let folder = &parts.places.state_dir;
    for socket in [&parts.places.own, &view_socket(folder), &usage_socket(folder)] {
        let _gone = std::fs::remove_file(socket);
    }
    tokio::time::sleep(END).await;
    Ok(())
}

/// How it went with what is listened on.
struct Listens {
    page: watch::Receiver<Listening>,
    otlp: watch::Receiver<Problem>,
}

/// A line for everything that goes on.
fn start(parts: &Parts) -> Listens {
    let background = TaskKind::Background;
    let Parts { tasks, .. } = parts;
    let collect = collect::run(
        parts.places.clone(),
        parts.keeper.clone(),
        Arc::clone(&parts.rounds),
    );
    tasks.spawn(background, "collect", collect);
    tasks.spawn(background, "metrics of this process", tell(parts.clone()));
    tasks.spawn(background, "view", look::run(parts.clone()));
    tasks.spawn(background, "view for the terminal", look::tell(parts.clone()));
    tasks.spawn(background, "usage", usage::tell(parts.clone()));
    tasks.spawn(background, "alerts", alert::run(parts.clone()));
    tasks.spawn(background, "what happened", happened::run(parts.clone()));
    let (said, otlp) = watch::channel(None);
    match traces::start(&parts.places, &parts.snapshot, tasks) {
        Ok(intake) => {
            let serve = serve::run(parts.snapshot.clone(), intake, tasks.clone(), said);
            tasks.spawn(background, "otlp", serve);
        }
        Err(error) => tracing::warn!(%error, "no traces are kept: nobody can send any"),
    }
    let (told, page) = watch::channel(Listening::default());
    tasks.spawn(background, "page", page::run(parts.clone(), told));
    Listens { page, otlp }
}

/// As every process that measures does.
async fn tell(parts: Parts) {
    let made = std::fs::create_dir_all(&parts.places.folder).map_err(|error| error.to_string());
    let bound = made.and_then(|()| Listener::bind(&parts.places.own).map_err(|error| error.to_string()));
    match bound {
        Ok(listener) => {
            let say = async || Some(parts.places.of_this_process(&parts.keeper.held().await).await);
            control::tell(&listener, "metrics", say).await;
        }
        Err(why) => tracing::warn!(why, "what the machine does is on no page of metrics"),
    }
}

/// Waits for the first good snapshot; `None`: the end came before.
async fn first(watch: &mut Watch, shutdown: &mut Shutdown) -> Option<ObserveSnapshot> {
    loop {
        if let Some(snapshot) = read(watch.path().to_owned()) {
            return Some(snapshot);
        }
        tokio::select! {
            () = watch.changed() => {}
            () = shutdown.draining() => return None,
        }
    }
}

/// What cannot be read is as if nothing had changed.
fn read(path: PathBuf) -> Option<ObserveSnapshot> {
    watched::read(&path).unwrap_or_else(|error| {
        tracing::warn!(%error, "the newest snapshot cannot be read");
        None
    })
}

async fn follow(watch: &Watch, snapshots: &watch::Sender<Arc<ObserveSnapshot>>, keeper: &Keeper) {
    let path = watch.path().to_owned();
    let new = banyan_runtime::task::blocking(move || read(path)).await;
    let Ok(Some(new)) = new else { return };
    if new.epoch > snapshots.borrow().epoch {
        keeper.set(new.settings.clone()).await;
        snapshots.send_replace(Arc::new(new));
    }
}

async fn report(parts: &Parts, listens: &Listens, reports: &watch::Sender<ObserveReport>) {
    let held = parts.keeper.held().await;
    let listening = listens.page.borrow().clone();
    let new = ObserveReport {
        pid: std::process::id(),
        epoch: parts.snapshot.borrow().epoch,
        listening: listening.at,
        problem: listening
            .problem
            .or(held.problem)
            .or_else(|| listens.otlp.borrow().clone()),
        series: held.series,
        dropped: held.dropped,
        disk_bytes: held.disk_bytes,
    };
    reports.send_if_modified(|report| {
        let differs = *report != new;
        *report = new;
        differs
    });
}
