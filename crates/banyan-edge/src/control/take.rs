//! Which snapshots are taken: valid, and not older than what is served. The last good one stays otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use banyan_config::{FIRST_PLACE, Route, Sticky};
use banyan_runtime::Shutdown;
use banyan_runtime::watched::{self, Watch};
use banyan_topology::report::EdgeReport;
use banyan_topology::snapshot::{EdgeSnapshot, Listener, Speaks, Upstream};
use banyan_topology::{InstanceId, PlaceName};

use super::Control;
use super::health::Checked;
use crate::core::command::{Command, CoreSnapshot};
use crate::core::groups::Shared;
use crate::filter::auth;
use crate::forward::gate::Gate;
use crate::gateway;
use crate::metrics::RouteCells;
use crate::route::Table;
use crate::sticky::Key;

/// Waits for the first good snapshot; `None`: the end came before.
pub(super) async fn first(
    watch: &mut Watch,
    place: Option<&PlaceName>,
    reports: &watch::Sender<EdgeReport>,
    shutdown: &mut Shutdown,
) -> Option<EdgeSnapshot> {
    loop {
        let refused = match read(watch, place) {
            Ok(Some(snapshot)) => return Some(snapshot),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        reports.send_replace(EdgeReport {
            pid: std::process::id(),
            place: place.cloned(),
            refused,
            ..EdgeReport::default()
        });
        tokio::select! {
            () = watch.changed() => {}
            () = shutdown.draining() => return None,
        }
    }
}

/// As it is for that place.
fn read(watch: &Watch, place: Option<&PlaceName>) -> Result<Option<EdgeSnapshot>, String> {
    let snapshot: Option<EdgeSnapshot> = watched::read(watch.path()).map_err(|error| {
        let cause = std::error::Error::source(&error)
            .map(|c| format!(": {c}"))
            .unwrap_or_default();
        format!("{error}{cause}")
    })?;
    let Some(snapshot) = snapshot else {
        return Ok(None);
    };
    let epoch = snapshot.epoch;
    let Some(snapshot) = snapshot.seen_from(place) else {
        let place = place.map_or(FIRST_PLACE, PlaceName::as_str);
        return Err(format!("snapshot {epoch} has no place {place}"));
    };
    check(&snapshot)?;
    Ok(Some(snapshot))
}

/// What serde cannot say: names that occur once, a probe that is one request.
fn check(snapshot: &EdgeSnapshot) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for endpoint in snapshot.endpoints() {
        if !names.insert(&endpoint.id) {
            return Err(format!(
                "snapshot {}: {} is listed twice",
                snapshot.epoch, endpoint.id
            ));
        }
        if !addresses.insert(endpoint.address) {
            return Err(format!(
                "snapshot {}: two endpoints at {}",
                snapshot.epoch, endpoint.address
            ));
        }
    }
    check_listeners(snapshot)?;
    for probe in snapshot
        .upstreams()
        .filter_map(|upstream| upstream.ready.as_ref())
    {
        let host = probe.host.as_deref().unwrap_or_default();
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !probe.path.starts_with('/') || !plain(&probe.path) || !plain(host) {
            return Err(format!(
                "snapshot {}: the readiness path or host is not valid",
                snapshot.epoch
            ));
        }
    }
    let filters = snapshot.routes.iter().map(|route| &route.bounds.filters);
    for filters in filters.chain([&snapshot.settings.filters]) {
        auth::check(&snapshot.settings, filters)
            .map_err(|why| format!("snapshot {}: {why}", snapshot.epoch))?;
    }
    Table::compile(&snapshot.routes)
        .map(drop)
        .and_then(|()| gateway::apis(&snapshot.routes).map(drop))
        .map_err(|why| format!("snapshot {}: {why}", snapshot.epoch))
}

fn check_listeners(snapshot: &EdgeSnapshot) -> Result<(), String> {
    let mut asked: Vec<_> = snapshot.listeners.iter().map(|l| l.address).collect();
    asked.retain(|address| address.port() != 0);
    asked.sort_unstable();
    if asked.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!(
            "snapshot {}: two listeners on one address",
            snapshot.epoch
        ));
    }
    let mut streams = snapshot.listeners.iter().filter(|l| l.speaks == Speaks::Stream);
    let known = |l: &Listener| snapshot.streams.iter().any(|s| s.listen == l.address);
    if !streams.all(known) {
        return Err(format!(
            "snapshot {}: a listener leads to no process",
            snapshot.epoch
        ));
    }
    let https = snapshot.listeners.iter().any(|l| l.speaks == Speaks::Https);
    if snapshot.listeners.is_empty() || (https && snapshot.settings.tls.is_none()) {
        return Err(format!(
            "snapshot {}: no listener, or https without certificates",
            snapshot.epoch
        ));
    }
    Ok(())
}

impl Control {
    /// Looks at the file and takes what is newer and good.
    pub(super) fn look(&mut self, watch: &Watch) {
        let before = self.refused.take();
        match read(watch, self.place.as_ref()) {
            Ok(Some(snapshot)) => self.refused = self.take(snapshot).err(),
            // Without a file the last good one is served.
            Ok(None) => {}
            Err(why) => self.refused = Some(why),
        }
        if self.refused != before {
            if let Some(why) = &self.refused {
                tracing::warn!(why, "a snapshot was refused; the last good one is served");
            }
            self.publish();
        }
    }

    fn take(&mut self, snapshot: EdgeSnapshot) -> Result<(), String> {
        let current = self.snapshot.epoch;
        if snapshot.epoch < current {
            return Err(format!(
                "snapshot {} is older than {current}, which is served",
                snapshot.epoch
            ));
        }
        if snapshot.epoch == current {
            if snapshot != self.snapshot {
                return Err(format!("another snapshot {current} is served"));
            }
            return self.listen_again();
        }
        self.need_key(snapshot.settings.sticky.as_ref())?;
        self.need_secret(&snapshot)?;
        self.need_disk(&snapshot)?;
        let identities = self.identities.prepare(&snapshot.settings, self.clock.now());
        if let Some(why) = identities.values().find_map(|entry| entry.problem()) {
            return Err(why.clone());
        }
        let now = self.clock.now();
        let origins = self.origins.prepare(&snapshot.settings, self.cores.len(), now)?;
        let ready = self.get_ready(&snapshot)?;
        self.snapshot = snapshot;
        self.identify_by(identities);
        self.origins.take(origins);
        self.use_it(ready);
        self.look_at_limits();
        self.spread_snapshot();
        self.stop_listening();
        self.keep_metrics();
        self.look_for_others();
        tracing::info!(epoch = %self.snapshot.epoch, endpoints = self.snapshot.endpoints().count(), "snapshot taken");
        Ok(())
    }

    /// Reads or makes the key for sticky sessions, if they are wanted.
    pub(super) fn need_key(&mut self, sticky: Option<&Sticky>) -> Result<(), String> {
        if matches!(sticky, Some(Sticky::Cookie(_))) && self.sticky.is_none() {
            let key = Key::load(&self.secrets).map_err(|error| {
                let folder = self.secrets.display();
                format!("no key for sticky sessions in {folder}: {error}")
            })?;
            self.sticky = Some(key);
        }
        Ok(())
    }

    /// Reads or makes what edges know each other by, if they ask each other.
    pub(super) fn need_secret(&self, snapshot: &EdgeSnapshot) -> Result<(), String> {
        let cache = snapshot.settings.cache.as_ref();
        if cache.is_some_and(|cache| cache.edges_ask()) {
            self.stored.know_secret(&self.secrets).map_err(|error| {
                let folder = self.secrets.display();
                format!("no secret of the edges in {folder}: {error}")
            })?;
        }
        Ok(())
    }

    /// Begins to keep responses on the disk, or ends it.
    pub(super) fn need_disk(&mut self, snapshot: &EdgeSnapshot) -> Result<(), String> {
        let bytes = snapshot.settings.cache.as_ref().and_then(|cache| cache.disk);
        let begins = self.stored.store.disk().is_none() && bytes.is_some();
        let used = self.stored.store.use_disk(&self.cache_folder, bytes);
        used.map_err(|error| format!("no threads for the disk of the cache: {error}"))?;
        if begins {
            self.begin_on_disk(snapshot);
        }
        Ok(())
    }

    /// What clients' cookies say that are to stay with an endpoint. There is one cookie, so only the edge's own process
    /// keeps its clients.
    fn cookies(&self) -> BTreeMap<InstanceId, String> {
        let (Some(Sticky::Cookie(_)), Some(key)) = (&self.snapshot.settings.sticky, &self.sticky) else {
            return BTreeMap::new();
        };
        let ids = self.snapshot.upstream.endpoints.iter().map(|e| &e.id);
        ids.map(|id| (id.clone(), key.value(id))).collect()
    }

    /// A process keeps its line as long as it has a group.
    fn with_gates(&mut self) -> Vec<(Upstream, Arc<Gate>)> {
        let mut former = std::mem::take(&mut self.gates);
        let mut list = Vec::new();
        for upstream in self.snapshot.upstreams() {
            let gate = former.remove(&upstream.process).unwrap_or_default();
            self.gates.insert(upstream.process.clone(), Arc::clone(&gate));
            list.push((upstream.clone(), gate));
        }
        list
    }

    /// The groups as one core gets them.
    fn shared(&self, upstreams: &[(Upstream, Arc<Gate>)], core: usize) -> Vec<Shared> {
        let shared = |(upstream, gate): &(Upstream, Arc<Gate>)| Shared {
            upstream: upstream.clone(),
            gate: Arc::clone(gate),
            cells: self.measured.process(&upstream.process, core),
        };
        upstreams.iter().map(shared).collect()
    }

    fn route_cells(&self, core: usize) -> BTreeMap<String, Arc<RouteCells>> {
        let names = self.snapshot.routes.iter().map(|route| &route.name);
        names
            .map(|name| (name.clone(), self.measured.route(name, core)))
            .collect()
    }

    /// Tells every core; health of what remains is kept, what is new is checked at once.
    pub(super) fn spread_snapshot(&mut self) {
        self.update_outliers();
        let now = self.clock.now();
        let count = self.cores.len();
        let mut former = std::mem::take(&mut self.endpoints);
        for upstream in self.snapshot.upstreams() {
            let probe = upstream.ready.as_ref();
            for endpoint in &upstream.endpoints {
                let kept = former
                    .remove(&endpoint.id)
                    .filter(|c| c.address == endpoint.address);
                let mut checked = kept.unwrap_or_else(|| Checked::new(endpoint, count, probe, now));
                checked.configure(probe, upstream.proxy_protocol);
                self.endpoints.insert(endpoint.id.clone(), checked);
            }
        }
        let cookies = self.cookies();
        let materials = self.materials();
        let origins = self.origins.known();
        let upstreams = self.with_gates();
        let routes: Arc<[Route]> = self.snapshot.routes.clone().into();
        let processes = upstreams.iter().map(|(upstream, _)| &upstream.process);
        self.measured
            .name(count, routes.iter().map(|route| route.name.as_str()), processes);
        // Checked before: what is taken, compiles.
        let apis = gateway::apis(&routes).unwrap_or_default();
        let redirect_to = self.redirect_to();
        let (streams, passthrough) = self.prepare_streams();
        for (index, core) in self.cores.iter().enumerate() {
            let cells = self
                .endpoints
                .iter()
                .map(|(id, c)| (id.clone(), Arc::clone(&c.cells[index])));
            let _gone = core.commands.send(Command::Snapshot(Box::new(CoreSnapshot {
                epoch: self.snapshot.epoch,
                settings: self.snapshot.settings.clone(),
                upstreams: self.shared(&upstreams, index),
                route_cells: self.route_cells(index),
                routes: Arc::clone(&routes),
                apis: apis.clone(),
                origins: origins.clone(),
                challenges: self.snapshot.challenges.clone(),
                streams: streams.iter().map(|s| self.counted(s, index)).collect(),
                passthrough: passthrough.as_ref().map(|p| self.counted(p, index)),
                redirect_to,
                cells: cells.collect(),
                cookies: cookies.clone(),
                materials: materials.clone(),
            })));
        }
    }
}
