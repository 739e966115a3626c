//! The real binary at its edges: exit codes, streams, messages. Nothing here starts a child.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

#[expect(clippy::disallowed_methods, reason = "runs the binary under test to its end")]
fn banyan(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_banyan"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .output()
        .expect("the binary starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("it can be written");
    }
    folder
}

const GOOD: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"true\"\n";

#[test]
fn wrong_usage_exits_64_and_writes_nothing_to_stdout() {
    let folder = folder(&[]);
    for arguments in [
        &["statsu"][..],
        &["up", "--fast"],
        &["rollback", "three"],
        &["apply", "--resume", "--revert"],
        &["run"],
        &["run", "--"],
        &["run", "echo"],
        &[],
    ] {
        let output = banyan(folder.path(), arguments);
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    let folder = folder(&[]);
    for arguments in [
        &["--help"][..],
        &["up", "--help"],
        &["--version"],
        &["version"],
        &["version", "--json"],
    ] {
        let output = banyan(folder.path(), arguments);
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert!(
            !stdout(&output).is_empty() && stderr(&output).is_empty(),
            "{arguments:?}"
        );
    }
    let version: serde_json::Value =
        serde_json::from_slice(&banyan(folder.path(), &["version", "--json"]).stdout).expect("it is JSON");
    assert_eq!(version["name"], "banyan");
}

#[test]
fn a_folder_without_configuration_is_told_what_to_do() {
    let folder = folder(&[]);
    for verb in ["up", "plan", "apply", "deploy", "config", "check", "run -- true"] {
        let output = banyan(folder.path(), &verb.split(' ').collect::<Vec<_>>());
        assert_eq!(code(&output), 1, "{verb}");
        let text = stderr(&output);
        assert!(
            text.contains("there is no banyan.toml in") && text.contains("`banyan init`"),
            "{verb}: {text}"
        );
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("it is readable").collect();
    assert!(left.is_empty(), "a refused verb leaves nothing behind: {left:?}");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let folder = folder(&[(
        "banyan.toml",
        &GOOD.replace("[process.web]", "[process.web]\ncuont = 2"),
    )]);
    for verb in ["up", "plan", "config"] {
        let output = banyan(folder.path(), &[verb]);
        assert_eq!(code(&output), 1, "{verb}");
        let text = stderr(&output);
        assert!(
            text.contains("banyan.toml:4:1") && text.contains("`count`"),
            "{verb}: {text}"
        );
    }
}

#[test]
fn a_missing_overlay_is_named() {
    let folder = folder(&[("banyan.toml", GOOD)]);
    let output = banyan(folder.path(), &["--env", "production", "config"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("banyan.production.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn nothing_running_is_said_and_is_no_error_to_stop() {
    let folder = folder(&[("banyan.toml", GOOD)]);
    let output = banyan(folder.path(), &["down"]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("nothing runs here"));
    let output = banyan(folder.path(), &["status"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("nothing runs here"));
    let output = banyan(folder.path(), &["apply"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("`banyan up` starts it"));
}

#[test]
fn status_without_a_controller_is_json_too() {
    let folder = folder(&[("banyan.toml", GOOD)]);
    let output = banyan(folder.path(), &["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert!(status["controller_pid"].is_null() && status["children"].is_array());
}

#[test]
fn every_shell_gets_completions() {
    let folder = folder(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let output = banyan(folder.path(), &["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("rollback"), "{shell}");
    }
}

#[test]
fn colour_is_only_there_when_asked_for() {
    let folder = folder(&[]);
    assert!(!stderr(&banyan(folder.path(), &["up"])).contains('\x1b'));
    assert!(stderr(&banyan(folder.path(), &["up", "--color", "always"])).contains('\x1b'));
}

#[test]
fn logs_of_an_unknown_child_name_the_known_ones() {
    let folder = folder(&[("banyan.toml", GOOD)]);
    let logs = folder.path().join(".banyan/logs");
    fs::create_dir_all(&logs).expect("it can be made");
    fs::write(logs.join("web.1@r1.log"), "hello\n").expect("it can be written");
    let output = banyan(folder.path(), &["logs", "-p", "worker"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("web.1@r1"), "{}", stderr(&output));
    let output = banyan(folder.path(), &["logs", "-p", "web"]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "web.1@r1 | hello\n")
    );
}

#[test]
fn data_is_destroyed_only_by_its_name() {
    let folder = folder(&[("banyan.toml", GOOD)]);
    let state = folder.path().join(".banyan");
    fs::create_dir_all(state.join("data")).expect("it can be made");
    for arguments in [&["destroy"][..], &["destroy", "--yes-delete-data", "another"]] {
        let output = banyan(folder.path(), arguments);
        assert_eq!(code(&output), 1, "{arguments:?}");
        assert!(state.join("data").exists(), "{arguments:?}");
    }
    let output = banyan(folder.path(), &["destroy", "--yes-delete-data", "shop"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!state.exists() && folder.path().join("banyan.toml").exists());
}

#[test]
fn the_launch_shim_becomes_the_program_and_hands_everything_behind_the_dashes_to_it() {
    let folder = folder(&[]);
    let output = banyan(
        folder.path(),
        &["launch", "--nofile", "64", "--", "echo", "--config", "-v"],
    );
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "--config -v\n"));
    let output = banyan(folder.path(), &["launch", "--", "/no/such/program"]);
    assert_eq!(code(&output), 127);
    assert!(stderr(&output).contains("/no/such/program"));
}

#[test]
fn init_writes_what_config_can_read_and_never_overwrites() {
    let samples: [&[(&str, &str)]; 4] = [
        &[
            (
                "Procfile",
                "web: bundle exec puma -p $PORT\nworker: bundle exec sidekiq\n",
            ),
            ("Gemfile", "gem 'rails'\ngem 'pg'\n"),
        ],
        &[(
            "package.json",
            r#"{"name": "shop", "scripts": {"start": "node server.js"}, "dependencies": {"pg": "8"}}"#,
        )],
        &[
            (
                "manage.py",
                "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"shop.settings\")\n",
            ),
            ("requirements.txt", "django\n"),
        ],
        &[("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"0.1.0\"\n")],
    ];
    for files in samples {
        let folder = folder(files);
        let output = banyan(folder.path(), &["init"]);
        assert_eq!(code(&output), 0, "{files:?}: {}", stderr(&output));
        let output = banyan(folder.path(), &["config", "--json"]);
        assert_eq!(code(&output), 0, "{files:?}: {}", stderr(&output));
        let config: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        assert!(config["processes"]["web"].is_object(), "{files:?}: {config}");

        let before = fs::read(folder.path().join("banyan.toml")).expect("it is there");
        let output = banyan(folder.path(), &["init"]);
        assert_eq!(code(&output), 1);
        assert!(stderr(&output).contains("--force"));
        assert_eq!(
            fs::read(folder.path().join("banyan.toml")).expect("it is there"),
            before
        );
        assert_eq!(code(&banyan(folder.path(), &["init", "--force"])), 0);
    }
}

#[test]
fn the_manual_and_the_schema_are_printed_without_a_configuration() {
    let folder = folder(&[]);
    assert!(stdout(&banyan(folder.path(), &["config", "--manual"])).contains("[process."));
    let schema = banyan(folder.path(), &["config", "--schema"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&schema.stdout).is_ok());
}

const ROUTED: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"true\"\n[process.api]\ncommand = \"true\"\n\
[[route]]\nname = \"api\"\nprefix = \"/api\"\nprocess = \"api\"\nrewrite = \"/\"\n\
[[route]]\nname = \"beta\"\nprefix = \"/\"\nheaders = { x-beta = \"*\" }\nsplit = { web = 3, api = 1 }\n\
[[route]]\nname = \"old\"\npath = \"/api/old\"\nredirect = \"/new\"\n";

#[test]
fn route_explain_says_who_answers_and_why_without_anything_running() {
    let folder = folder(&[("banyan.toml", ROUTED)]);
    let told = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["route", "explain"].iter().chain(arguments).copied().collect();
        let output = banyan(folder.path(), &arguments);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    expect_test::expect![[r#"
        GET https://shop.example/api/x → route api: process api, rewritten to /

        ROUTE  DOMAIN  FATE      WHY
        old    any     no match  its path is another
        api    any     wins      everything that it asks for holds
        beta   any     no match  header x-beta is missing or another
    "#]]
    .assert_eq(&told(&["GET", "https://shop.example/api/x"]));
    expect_test::expect![[r#"
        GET https://shop.example/x → route beta: split api 25.000 %, web 75.000 %, by cookie

        ROUTE  DOMAIN  FATE      WHY
        old    any     no match  its path is another
        api    any     no match  its path is another
        beta   any     wins      everything that it asks for holds
    "#]]
    .assert_eq(&told(&["get", "https://shop.example/x", "--header", "X-Beta: 1"]));
    assert!(told(&["GET", "http://a/api/old"]).contains("route old: redirect 302 to /new"));
    assert!(told(&["GET", "http://a/x"]).contains("process web, the edge's own: no route matches"));
    assert!(told(&["GET", "http://a/x/../api"]).contains("answered 400"));
    let json: serde_json::Value =
        serde_json::from_str(&told(&["--json", "GET", "http://a/api/x"])).expect("one JSON document");
    assert_eq!(json["route"], "api");
    assert_eq!(json["candidates"][0]["fate"], "does_not_match");
    assert!(!folder.path().join(".banyan").exists());
}

#[test]
fn a_link_is_signed_by_the_key_of_its_route() {
    let config = format!(
        "{GOOD}[auth.links]\nsigned = \"links.keys\"\n[auth.other]\nsigned = \"other.keys\"\n\
         [[route]]\nprefix = \"/private/\"\nauth = [\"links\"]\n"
    );
    let key = "a:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    let folder = folder(&[("banyan.toml", &config), ("links.keys", key), ("other.keys", key)]);
    for file in ["links.keys", "other.keys"] {
        fs::set_permissions(folder.path().join(file), fs::Permissions::from_mode(0o600)).expect("mode");
    }
    let sign = |arguments: &[&str]| banyan(folder.path(), &[&["cdn", "sign"], arguments].concat());
    let made = sign(&["https://shop.example/private/a.jpg?w=4", "--expires", "2h"]);
    assert_eq!((code(&made), stderr(&made)), (0, String::new()));
    let link = stdout(&made);
    assert!(
        link.starts_with("https://shop.example/private/a.jpg?w=4&banyan-key=a&banyan-expires="),
        "{link}"
    );
    let below = stdout(&sign(&["/private/7/", "--prefix", "--client", "10.0.0.0/8"]));
    assert!(
        below.contains("&banyan-prefix=/private/7/&banyan-client=10.0.0.0/8&banyan-signature="),
        "{below}"
    );
    for (arguments, wrong) in [
        (&["/private/7", "--prefix"][..], "a prefix ends with /"),
        (&["/elsewhere"], "--auth NAME"),
        (&["/private/%2e%2e/a", "--auth", "links"], "two ways"),
        (&["/private/a", "--key", "b"], "no key of that name"),
        (&["/private/a", "--auth", "staff"], "no [auth.staff]"),
    ] {
        let refused = sign(arguments);
        assert_eq!(
            (code(&refused), stdout(&refused)),
            (1, String::new()),
            "{arguments:?}"
        );
        assert!(
            stderr(&refused).contains(wrong),
            "{arguments:?}: {}",
            stderr(&refused)
        );
    }
}
