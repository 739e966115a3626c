use banyan_config::{FileTemplate, ProcessSettings};
use banyan_topology::ReleaseId;

use super::*;

fn templates(argv: &[&str]) -> Vec<Template> {
    argv.iter().map(|text| Template::parse(text).unwrap()).collect()
}

fn process() -> Process {
    Process {
        name: "web".parse().unwrap(),
        max: None,
        settings: Box::new(ProcessSettings {
            proxy_protocol: None,
            scale: None,
            zones: Vec::new(),
            ready: None,
            live: None,
            start_grace: Duration::from_secs(60),
            stop_grace: Duration::from_secs(30),
        }),
    }
}

fn release(argv: &[&str], env: &[(&str, &str)]) -> Release {
    let launch = Launch {
        argv: templates(argv),
        env: env
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Template::parse(text).unwrap()))
            .collect(),
        protocol: Default::default(),
    };
    Release {
        id: ReleaseId(3),
        dir: PathBuf::from("."),
        user: None,
        commands: BTreeMap::from([("web".parse().unwrap(), launch.clone())]),
        release_command: Some(launch),
        files: vec![FileTemplate {
            from: PathBuf::from("database.ini.in"),
            to: PathBuf::from("database.ini"),
            text: Template::parse("password={{database.password}}\n").unwrap(),
        }],
        programs: BTreeMap::new(),
        database_url: None,
        redis: BTreeMap::new(),
        proxied: false,
        proxy_port: None,
        secrets_digest: String::new(),
    }
}

fn database() -> DatabaseAddress {
    DatabaseAddress {
        host: "127.0.0.1".to_owned(),
        port: 20005,
        user: "photos".to_owned(),
        password: "p$PORT{{x".to_owned(),
        name: "photos".to_owned(),
        options: None,
    }
}

fn redis() -> RedisAddress {
    RedisAddress::parse("redis://default:geheim@127.0.0.1:20006/0").unwrap()
}

/// Renders with everything there is.
fn with_context<T>(release: &Release, folder: &Path, test: impl FnOnce(&AppContext<'_>) -> T) -> T {
    let base = BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]);
    let database = database();
    let redis = BTreeMap::from([(Purpose::Sessions, redis())]);
    let copied = |path: &str| (path == "bin/web").then(|| PathBuf::from("/state/releases/3/ab-web"));
    test(&AppContext {
        app: &"photos".parse().unwrap(),
        release,
        folder,
        data: Path::new("/state/data/app"),
        logs: Path::new("/state/logs"),
        run_as: RunAs::Same,
        base: &base,
        secrets: &Secrets::default(),
        database: Some(&database),
        direct: None,
        redis: &redis,
        program: &copied,
    })
}

fn id() -> InstanceId {
    "web.1@r3".parse().unwrap()
}

#[test]
fn an_instance_finds_each_redis_that_its_release_uses() {
    let release = release(
        &["bin/web"],
        &[
            ("REDIS_URL", "{{sessions.url}}"),
            ("BROKER", "{{sessions.host}} {{sessions.port}}"),
        ],
    );
    let spec = with_context(&release, Path::new("/app"), |context| {
        instance(context, &id(), 20101, &process(), true).unwrap()
    });
    assert_eq!(spec.env["REDIS_URL"], "redis://default:geheim@127.0.0.1:20006/0");
    assert_eq!(spec.env["BROKER"], "127.0.0.1 20006");
    assert!(!format!("{spec:?}").contains("geheim"));
}

#[test]
fn an_instance_is_told_who_and_where_it_is() {
    let release = release(
        &["bin/web", "--listen", "$HOST:${PORT}"],
        &[("NAME", "{{instance}} of {{release}}"), ("BANYAN_APP", "mine")],
    );
    let spec = with_context(&release, Path::new("/app"), |context| {
        instance(context, &id(), 20001, &process(), true).unwrap()
    });
    assert_eq!(
        spec.argv,
        ["/state/releases/3/ab-web", "--listen", "127.0.0.1:20001"]
    );
    let env = |name: &str| spec.env.get(name).map_or("", String::as_str);
    assert_eq!(env("NAME"), "web.1 of 3");
    assert_eq!(env("BANYAN_INSTANCE"), "web.1");
    assert_eq!(env("BANYAN_DATA_DIR"), "/state/data/app");
    assert_eq!(env("PATH"), "/usr/bin");
    // The user's own variables win.
    assert_eq!(env("BANYAN_APP"), "mine");
    assert_eq!(spec.log, Path::new("/state/logs/web.1@r3.log"));
    assert!(matches!(spec.ready, Probe::Tcp { .. }));
    assert_eq!(spec.port, Some(20001));
}

#[test]
fn a_password_with_dollars_and_braces_is_taken_as_it_is() {
    let release = release(&["web"], &[("PASSWORD", "{{database.password}}")]);
    let spec = with_context(&release, Path::new("/app"), |context| {
        instance(context, &id(), 20001, &process(), false).unwrap()
    });
    assert_eq!(spec.env["PASSWORD"], "p$PORT{{x");
    assert!(matches!(spec.ready, Probe::Running { .. }));
    assert_eq!(spec.port, None);
    assert!(!format!("{spec:?}").contains("p$PORT"), "Debug shows a secret");
}

#[test]
fn a_value_that_is_missing_is_named_with_where_it_stands() {
    let release = release(&["web"], &[("TOKEN", "{{secret.TOKEN}}")]);
    let error = with_context(&release, Path::new("/app"), |context| {
        instance(context, &id(), 20001, &process(), true).unwrap_err()
    });
    assert_eq!(
        error.to_string(),
        "failed to render the environment variable TOKEN of web.1"
    );
}

#[test]
fn the_release_command_has_no_port_and_a_name_of_its_release() {
    let release = release(&["web", "migrate"], &[]);
    let spec = with_context(&release, Path::new("/app"), |context| {
        release_command(context).unwrap().unwrap()
    });
    assert_eq!(spec.id.0, "release@r3");
    assert!(!spec.env.contains_key("PORT"));
    assert!(spec.env.contains_key("DATABASE_URL"));
}

#[test]
fn files_are_written_for_the_apps_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let release = release(&["web"], &[]);
    with_context(&release, folder.path(), |context| write_files(context).unwrap());
    let path = folder.path().join("database.ini");
    assert_eq!(fs::read_to_string(&path).unwrap(), "password=p$PORT{{x\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_users_own_database_is_known_by_its_parts_too() {
    let mut release = release(&["web"], &[("HOST_OF_DB", "{{database.host}}:{{database.port}}")]);
    release.database_url = Some(Template::literal(
        "postgres://ada:pw@db.example/photos?sslmode=require",
    ));
    let spec = with_context(&release, Path::new("/app"), |context| {
        let context = AppContext {
            database: None,
            run_as: RunAs::Same,
            ..*context
        };
        instance(&context, &id(), 20001, &process(), true).unwrap()
    });
    assert_eq!(spec.env["HOST_OF_DB"], "db.example:5432");
    assert_eq!(
        spec.env["DATABASE_URL"],
        "postgres://ada:pw@db.example/photos?sslmode=require"
    );
}
