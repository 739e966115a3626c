//! Bad input gets one clear message that names the thing and the next step, and harms nothing that runs.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};

const LIMIT: Duration = Duration::from_secs(120);

/// `banyan up` must fail with exit code 1 and these words, and leave nothing running.
async fn up_fails(installation: &Installation, words: &[&str]) {
    let finished = installation.command(&["up"]).finish(LIMIT).await.unwrap();
    println!("{}", finished.stderr);
    assert_eq!(finished.code(), 1, "{}", finished.output());
    for word in words {
        assert!(
            finished.stderr.contains(word),
            "`{word}` is missing:\n{}",
            finished.stderr
        );
    }
    installation.assert_nothing_runs();
}

#[tokio::test]
async fn errors_in_banyan_toml_name_place_and_remedy_and_start_nothing() {
    let installation = Installation::new(Manifest::misfit("").process("comand = \"x\"").edge("prot = 1"));
    up_fails(
        &installation,
        &["banyan.toml:", "comand", "command", "prot", "port"],
    )
    .await;
    assert!(
        !installation.state().join("journal").exists(),
        "nothing was begun"
    );
}

#[tokio::test]
async fn errors_in_banyan_toml_change_nothing_that_runs() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let before = installation.instances().await;
    fs::write(
        installation.manifest_path(),
        "version = 1\nname = \"photos\"\n[edge\n",
    )
    .unwrap();
    for verb in ["apply", "deploy", "plan"] {
        let finished = installation.try_verb(&[verb]).await;
        assert_eq!(finished.code(), 1, "{verb}: {}", finished.output());
        assert!(
            finished.stderr.contains("banyan.toml:3"),
            "{verb}: {}",
            finished.stderr
        );
    }
    assert_eq!(installation.instances().await, before);
    installation.down().await;
}

#[tokio::test]
async fn a_missing_banyan_toml_is_named_with_the_way_to_one() {
    let installation = Installation::new(Manifest::misfit(""));
    fs::remove_file(installation.manifest_path()).unwrap();
    up_fails(&installation, &["banyan.toml", "init"]).await;
}

#[tokio::test]
async fn wrong_usage_is_exit_code_64() {
    let installation = Installation::new(Manifest::misfit(""));
    let finished = installation.try_verb(&["upp"]).await;
    assert_eq!(finished.code(), 64, "{}", finished.output());
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let installation = Installation::new(Manifest {
        command: "./no-such-program".to_owned(),
        ..Manifest::misfit("")
    });
    up_fails(&installation, &["no-such-program", "not found"]).await;
}

#[tokio::test]
async fn an_app_that_exits_at_once_is_shown_with_its_last_words() {
    let installation = Installation::new(Manifest::misfit("--exit 3"));
    up_fails(&installation, &["web.1@r1", "code 3", "boom"]).await;
}

#[tokio::test]
async fn an_app_on_the_wrong_port_is_told_which_one_it_has() {
    let manifest = Manifest::misfit("--port-offset 1").process("start_grace = \"2s\"");
    up_fails(&Installation::new(manifest), &["web.1@r1", "listens on"]).await;
}

#[tokio::test]
async fn an_edge_port_in_use_is_named() {
    let installation = Installation::new(Manifest::misfit(""));
    let _taken = TcpListener::bind(installation.edge_address()).unwrap();
    up_fails(
        &installation,
        &[&installation.edge_address().port().to_string(), "in use"],
    )
    .await;
}

#[tokio::test]
async fn a_database_port_in_use_is_named() {
    let installation = Installation::new(Manifest::photos(1));
    let _taken = TcpListener::bind(("127.0.0.1", installation.database_port())).unwrap();
    up_fails(
        &installation,
        &[&installation.database_port().to_string(), "in use"],
    )
    .await;
}

#[tokio::test]
async fn an_edge_port_in_use_changes_nothing_that_runs() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let old = installation.edge_address();
    let old_client = installation.client();
    installation.move_edge();
    let _taken = TcpListener::bind(installation.edge_address()).unwrap();
    installation.write_manifest();
    let finished = installation.try_verb(&["apply"]).await;
    assert_eq!(finished.code(), 1, "{}", finished.output());
    assert!(finished.stderr.contains("in use"), "{}", finished.stderr);
    assert_eq!(
        old_client.get("/").await.unwrap().status(),
        200,
        "{old} goes on serving"
    );
    installation.down().await;
}

#[tokio::test]
async fn a_second_up_in_the_same_folder_is_refused_with_the_first_ones_pid() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let pid = installation.controller_mut().pid().to_string();
    let second = installation.command(&["up"]).finish(LIMIT).await.unwrap();
    assert_eq!(second.code(), 1, "{}", second.output());
    assert!(
        second.stderr.contains(&pid),
        "the pid {pid} is missing: {}",
        second.stderr
    );
    assert_eq!(installation.client().get("/").await.unwrap().status(), 200);
    installation.down().await;
}

#[tokio::test]
async fn data_of_another_postgresql_is_left_alone_and_named() {
    let installation = Installation::new(Manifest::photos(1));
    let data = installation.state().join("data/postgres");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    up_fails(
        &installation,
        &["data directory", "PostgreSQL 9", "installed: 15", "postgresql-9"],
    )
    .await;
    let left: Vec<_> = fs::read_dir(&data).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing was written into it");
}
