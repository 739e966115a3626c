//! What a sound configuration means: defaults, Procfile, overlay, secrets; and the resolved form.

use std::time::Duration;

use banyan_config::{Database, ProcessName, Template, render_resolved, resolved_json};
use expect_test::expect;

use crate::load;

fn process(name: &str) -> ProcessName {
    name.parse().expect("a sound name")
}

fn words(argv: &[Template]) -> Vec<&str> {
    argv.iter().map(Template::as_str).collect()
}

#[test]
fn two_lines_and_a_procfile_are_enough() {
    let loaded =
        load("version = 1\nname = \"shop\"\n--- Procfile\nweb: ./web -p $PORT\nrelease: ./migrate\n")
            .unwrap();
    let config = loaded.config;
    assert_eq!(
        words(&config.processes[&process("web")].argv),
        ["./web", "-p", "$PORT"]
    );
    assert_eq!(words(config.app.release.as_ref().unwrap()), ["./migrate"]);
    assert_eq!(config.edge.unwrap().listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.processes.len(), 1, "release is no process");
    assert_eq!(config.database, None);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn workers_alone_have_no_edge() {
    let config = load("version = 1\nname = \"shop\"\n[process.worker]\ncommand = \"./w\"\n")
        .unwrap()
        .config;
    assert_eq!(config.edge, None);
}

#[test]
fn an_empty_database_table_is_a_managed_one() {
    let config = load("version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./w\"\n[database]\n")
        .unwrap()
        .config;
    let Some(Database::Managed(managed)) = config.database else {
        panic!("managed")
    };
    assert_eq!(
        (managed.max_connections, managed.port, managed.postgres),
        (100, None, None)
    );
}

#[test]
fn a_command_replaces_that_of_the_procfile() {
    let text =
        "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"new\"\n--- Procfile\nweb: old\nworker: w\n";
    let config = load(text).unwrap().config;
    assert_eq!(words(&config.processes[&process("web")].argv), ["new"]);
    assert_eq!(words(&config.processes[&process("worker")].argv), ["w"]);
}

#[test]
fn a_path_alone_is_a_probe_with_defaults() {
    let text = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"w\"\nready = \"/ok\"\nlive = { path = \"/l\" }\n";
    let config = load(text).unwrap().config;
    let settings = &config.processes[&process("web")].settings;
    let ready = settings.ready.as_ref().unwrap();
    assert_eq!(
        (ready.path.as_str(), ready.status, ready.interval),
        ("/ok", 200, Duration::from_secs(2))
    );
    assert_eq!(settings.live.as_ref().unwrap().failures, 10);
}

#[test]
fn an_overlay_replaces_keys_and_merges_tables() {
    let config = load(
        "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"w\"\ncount = 1\n[edge]\nport = 80\npublic = true\n\
         --- overlay.toml\n[process.web]\ncount = 3\n[edge]\nport = 81\n[app.env]\nMODE = \"production\"\n",
    )
    .unwrap()
    .config;
    assert_eq!(config.edge.unwrap().listen.to_string(), "0.0.0.0:81");
    let web = &config.processes[&process("web")];
    assert_eq!((web.count, words(&web.argv)), (3, vec!["w"]));
    assert_eq!(config.app.env["MODE"].as_str(), "production");
}

#[test]
fn secrets_keep_quotes_newlines_and_dollars() {
    let loaded = load(
        "version = 1\nname = \"shop\"\n[app]\nsecrets = \"s.env\"\n[process.web]\ncommand = \"w\"\n--- s.env 400\n\
         # comment\nexport A = plain value \nB='$x \"y\" #z'\nC=\"a\\nb \\\"q\\\"\"\nD=\"-----BEGIN\nKEY-----\"\nE=\nF=a=b\n",
    )
    .unwrap();
    let value = |name: &str| loaded.secrets.get(name).unwrap().expose().to_owned();
    assert_eq!(value("A"), "plain value");
    assert_eq!(value("B"), "$x \"y\" #z");
    assert_eq!(value("C"), "a\nb \"q\"");
    assert_eq!(value("D"), "-----BEGIN\nKEY-----");
    assert_eq!((value("E"), value("F")), (String::new(), "a=b".to_owned()));
    assert_eq!(loaded.config.app.secret_names, ["A", "B", "C", "D", "E", "F"]);
}

#[test]
fn debugging_output_never_shows_a_secret() {
    let loaded = load(
        "version = 1\nname = \"shop\"\n[app]\nsecrets = \"s.env\"\n[app.env]\nK = \"{{secret.A}}\"\n[process.web]\ncommand = \"w\"\n\
         [database]\nurl = \"postgres://u:{{secret.A}}@h/d\"\n--- s.env\nA=hunter2\n",
    )
    .unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let Some(Database::External(external)) = &loaded.config.database else {
        panic!("external")
    };
    let address = external.address(&loaded.secrets).unwrap();
    assert_eq!(address.password, "hunter2");
    assert!(!format!("{address:?}").contains("hunter2"));
}

#[test]
fn any_password_fits_into_a_url() {
    for (url, secret) in [
        (
            "postgres://u:{{secret.A}}@h:1/d?sslmode=require",
            "p@ss/w:o?rd#%41",
        ),
        ("{{secret.A}}", "postgresql://u:p%40ss@h:1/d?sslmode=require"),
    ] {
        let text = format!(
            "version = 1\nname = \"shop\"\n[app]\nsecrets = \"s.env\"\n[process.web]\ncommand = \"w\"\n\
             [database]\nurl = \"{url}\"\n--- s.env\nA='{secret}'\n"
        );
        let loaded = load(&text).unwrap();
        let Some(Database::External(external)) = &loaded.config.database else {
            panic!("external")
        };
        let address = external.address(&loaded.secrets).unwrap();
        assert_eq!(
            banyan_config::DatabaseAddress::parse(&address.url()),
            Ok(address.clone())
        );
        assert_eq!(
            (address.port, address.options.as_deref()),
            (1, Some("sslmode=require"))
        );
        assert!(address.password.starts_with("p@ss"));
    }
}

const MUCH: &str = r#"version = 1
name = "shop"
[app]
secrets = "s.env"
user = "www-data"
files = [{ from = "a.in", to = "a" }]
[app.env]
API_TOKEN = "literal"
KEY = "{{secret.A}}"
REDIS = "redis://default:topsecret@cache:6379"
MODE = "x \"y\" \\ é"
[process.web]
command = "sh -c 'exec web --port $PORT \"$@\"' x \"$MODE y\" {{data}}"
count = 2
max = 4
ready = { path = "/ok", host = "shop.example" }
hosts = ["here"]
[process.web.env]
EXTRA = "{{instance}}"
[edge]
trusted_proxies = ["10.0.0.1", "::1"]
[database]
memory = "1GiB"
settings = { work_mem = "16MB", jit = false, "pg_stat_statements.max" = 100 }
[host.here]
--- s.env
A=x
--- a.in
url = {{database.url}}
--- Procfile
release: ./migrate --all
worker: ./worker
"#;

#[test]
fn the_resolved_form_shows_all_but_secrets() {
    let config = load(MUCH).unwrap().config;
    expect![[r#"
        version = 1
        name = "shop"

        [app]
        dir = "."
        release = "./migrate --all"
        secrets = "s.env"
        user = "www-data"
        files = [{ from = "a.in", to = "a" }]

        [app.env]
        API_TOKEN = "***"
        KEY = "{{secret.A}}"
        MODE = "x \"y\" \\ é"
        REDIS = "redis://default:***@cache:6379"

        [process.web]
        command = "sh -c \"exec web --port $$PORT \\\"$$@\\\"\" x \"$MODE y\" {{data}}"
        count = 2
        max = 4
        hosts = ["here"]
        protocol = "http1"
        ready = { path = "/ok", host = "shop.example", status = 200, interval = "2s", timeout = "1s", rise = 1, fall = 2 }
        start_grace = "1m"
        stop_grace = "30s"

        [process.web.env]
        EXTRA = "{{instance}}"

        [process.worker]
        command = "./worker"
        count = 1
        protocol = "http1"
        start_grace = "1m"
        stop_grace = "30s"

        [edge]
        port = 8080
        public = false
        process = "web"
        balance = "p2c_ewma"
        slow_start = "20s"
        trusted_proxies = ["10.0.0.1", "::1"]
        proxy_protocol = false
        access_log = true
        trace = "proxies"
        trace_sampled = 10

        [edge.log]
        sample = 1
        slow = "1s"

        [edge.health]
        failures = 5
        window = "10s"
        eject = "30s"
        max_ejected = 50
        panic = 50

        [edge.timeouts]
        header = "10s"
        idle = "1m"
        connect = "1s"
        response = "1m"
        no_endpoint = "5s"
        websocket = "5m"
        drain = "30s"

        [edge.limits]
        header_bytes = "32KiB"
        headers = 100
        request_line = "8KiB"
        body = "10MiB"
        body_rate = "500B"
        connections_per_ip = 256
        new_per_ip = 50
        exempt_ips = ["127.0.0.0/8", "::1"]

        [metrics]
        listen = "127.0.0.1:9464"

        [database]
        memory = "1GiB"
        max_connections = 100
        replicas = 0
        durability = "async"
        reads = "primary"

        [database.pgproxy]
        direct = false
        mode = "transaction"
        pool = 20
        max_clients = 1000
        wait = "10s"
        grace = "5s"
        hold = "15s"
        measure = true
        slow_query = "500ms"

        [database.settings]
        jit = "off"
        "pg_stat_statements.max" = "100"
        work_mem = "16MB"

        [alerts]
        every = "30s"
        clear = "1m"
        slo = 0.999

        [observe]
        disk = "256MiB"
        keep = "60d"

        [logs]
        file = "32MiB"
        keep = "30d"
        size = "1GiB"

        [host.here]
        kind = "machine"
    "#]].assert_eq(&render_resolved(&config, true));
    let json = resolved_json(&config, true).to_string();
    assert!(!json.contains("topsecret") && !json.contains("literal"));
}

#[test]
fn the_resolved_form_means_the_same() {
    let config = load(MUCH).unwrap().config;
    let files = MUCH.split_once("--- s.env").unwrap().1;
    let again = load(&format!("{}\n--- s.env{files}", render_resolved(&config, false)))
        .unwrap()
        .config;
    assert_eq!(again, config);
}

#[test]
fn errors_as_json_have_the_place_apart() {
    let errors = load("version = 1\nname = \"shop\"\n[edge]\nprot = 1\n--- Procfile\nweb: w\n").unwrap_err();
    expect![[r#"
        [
          {
            "file": "banyan.toml",
            "at": {
              "line": 4,
              "column": 1,
              "length": 4,
              "text": "prot = 1"
            },
            "message": "unknown key `prot` in [edge]",
            "help": [
              "did you mean `port`?"
            ]
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&errors).unwrap());
}

#[test]
fn text_that_is_not_utf_8_is_named() {
    let main = banyan_config::Source::new("banyan.toml", b"version = 1\nname = \"\xff\"".as_slice());
    let files = |_: &std::path::Path| Err(banyan_config::FileError::Missing);
    let errors = banyan_config::load(&banyan_config::Sources {
        main,
        overlay: None,
        files: &files,
        certificates: &|_, _| Ok(Vec::new()),
    })
    .unwrap_err();
    expect![[r#"
        error: line 2 is not UTF-8 text
         --> banyan.toml
          = save the file as UTF-8

        1 error; nothing was changed"#]]
    .assert_eq(&errors.to_string());
}
