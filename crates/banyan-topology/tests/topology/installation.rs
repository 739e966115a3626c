//! A machine and its configuration in a test: resolve, then take the plan as performed, again and again.

use std::collections::{BTreeMap, BTreeSet};

use banyan_config::{
    App, Config, Database, Durability, EdgeTable, Eviction, LogSettings, ManagedDatabase, ManagedRedis,
    ProcessTable, Purpose, Reads, Redis, Template,
};
use banyan_topology::{
    Change, Facts, Plan, ReleaseId, ResolveErrors, Resolved, Topology, check, plan, resolve,
};

use crate::notation::{edge_settings, settings};

pub(crate) struct Installation {
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    pub(crate) current: Topology,
}

impl Installation {
    /// PostgreSQL 15, a `web` process behind an edge, nothing running.
    pub(crate) fn new() -> Self {
        let facts = Facts {
            postgres_installed: BTreeSet::from([15]),
            redis_installed: true,
            memory_bytes: 8 << 30,
            free_ports: (20000..20020).collect(),
            ..Facts::nothing()
        };
        let config = config();
        Self {
            current: Topology::nothing(config.name.clone()),
            config,
            facts,
        }
    }

    pub(crate) fn resolve(&self, change: &Change) -> Result<Resolved, ResolveErrors> {
        resolve(&self.config, &self.facts, &self.current, change)
    }

    /// What the controller does when every step succeeds. The plan, and the notes for the user.
    pub(crate) fn apply(&mut self, change: Change) -> (Plan, Vec<String>) {
        self.try_apply(&change).unwrap()
    }

    pub(crate) fn try_apply(&mut self, change: &Change) -> Result<(Plan, Vec<String>), ResolveErrors> {
        let Resolved {
            topology,
            release,
            is_new,
            pinned,
            notes,
        } = self.resolve(change)?;
        let plan = plan::between(&self.current, &topology);
        check::plan(&self.current, &plan, &topology).unwrap();
        self.reach(&topology);
        if is_new {
            self.facts.next_release = ReleaseId(release.id.0 + 1);
        }
        self.facts.served.insert(release.id);
        self.facts.releases.insert(release.id, release);
        self.facts.pinned = pinned;
        Ok((plan, notes))
    }

    pub(crate) fn configure(&mut self) -> (Plan, Vec<String>) {
        self.apply(Change::Configuration)
    }

    pub(crate) fn down(&mut self) {
        self.reach(&self.current.stopped());
    }

    /// The ports change hands as they would on a machine.
    fn reach(&mut self, topology: &Topology) {
        self.current = topology.clone();
        let instances: BTreeMap<_, _> = topology
            .instances
            .values()
            .map(|instance| (instance.id.clone(), instance.port))
            .collect();
        let nodes = topology
            .database
            .iter()
            .flat_map(|database| database.nodes.values());
        let nodes: BTreeMap<_, _> = nodes.map(|node| (node.id, node.port)).collect();
        let pgproxy = topology.pgproxy.as_ref().map(|pgproxy| pgproxy.listen.port());
        let redis: BTreeMap<_, _> = topology
            .redis
            .values()
            .map(|redis| (redis.purpose, redis.port))
            .collect();
        let in_use = instances
            .values()
            .copied()
            .chain(nodes.values().copied())
            .chain(pgproxy)
            .chain(redis.values().copied());
        let in_use: BTreeSet<u16> = in_use.collect();
        self.facts.free_ports = (20000..20020).filter(|port| !in_use.contains(port)).collect();
        if !topology.is_stopped() {
            self.facts.remembered.instance_ports.extend(instances);
        }
        self.facts.remembered.nodes.extend(nodes);
        let placed = topology
            .database
            .iter()
            .flat_map(|database| database.nodes.values());
        for node in placed {
            match &node.dir {
                Some(dir) => drop(self.facts.remembered.dirs.insert(node.id, dir.clone())),
                None => drop(self.facts.remembered.dirs.remove(&node.id)),
            }
        }
        self.facts.remembered.redis_ports.extend(redis);
        self.facts.remembered.pgproxy_port = pgproxy.or(self.facts.remembered.pgproxy_port);
        if let Some(database) = &topology.database {
            self.facts.data_version = Some(database.version);
            self.facts.remembered.primary = Some(database.primary);
        }
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut ProcessTable {
        self.config
            .processes
            .entry(name.parse().unwrap())
            .or_insert_with(|| process(name))
    }

    pub(crate) fn database(&mut self) -> &mut ManagedDatabase {
        match &mut self.config.database {
            Some(Database::Managed(table)) => table,
            _ => panic!("no managed database"),
        }
    }

    /// A Redis with the defaults of its table.
    pub(crate) fn redis(&mut self, purpose: Purpose) -> &mut ManagedRedis {
        let table = self.config.redis.entry(purpose).or_insert_with(|| {
            Redis::Managed(ManagedRedis {
                port: None,
                memory_bytes: 256 << 20,
                eviction: match purpose {
                    Purpose::Sessions => Eviction::None,
                    Purpose::Cache => Eviction::Lfu,
                },
                settings: BTreeMap::new(),
            })
        });
        match table {
            Redis::Managed(table) => table,
            Redis::External(_) => panic!("no managed Redis"),
        }
    }

    /// Changes what a release is made of.
    pub(crate) fn edit_app(&mut self, text: &str) {
        self.config
            .app
            .env
            .insert("VERSION".to_owned(), Template::literal(text));
    }
}

fn config() -> Config {
    let app = App {
        dir: ".".into(),
        release: Some(vec![Template::literal("photos"), Template::literal("migrate")]),
        user: None,
        env: BTreeMap::new(),
        secrets: None,
        secret_names: Vec::new(),
        files: Vec::new(),
    };
    let edge = EdgeTable {
        listen: ([127, 0, 0, 1], 8080).into(),
        https: None,
        process: "web".parse().unwrap(),
        hosts: Vec::new(),
        settings: edge_settings(60),
        routes: Vec::new(),
        listeners: Vec::new(),
        passthrough: Default::default(),
        places: Default::default(),
    };
    let database = ManagedDatabase {
        postgres: None,
        port: None,
        dir: None,
        memory_bytes: None,
        max_connections: 100,
        name: None,
        replicas: 0,
        durability: Durability::Async,
        reads: Reads::Primary,
        pgproxy: Box::default(),
        backup: None,
        settings: BTreeMap::new(),
    };
    Config {
        name: "my-photos".parse().unwrap(),
        app,
        processes: BTreeMap::from([("web".parse().unwrap(), process("web"))]),
        edge: Some(edge),
        database: Some(Database::Managed(database)),
        redis: BTreeMap::new(),
        observe: None,
        alerts: None,
        logs: LogSettings::default(),
        hosts: BTreeMap::new(),
    }
}

fn process(name: &str) -> ProcessTable {
    ProcessTable {
        argv: vec![Template::literal("photos"), Template::literal(name)],
        env: BTreeMap::new(),
        count: 1,
        max: None,
        hosts: Vec::new(),
        protocol: Default::default(),
        settings: settings(),
    }
}
