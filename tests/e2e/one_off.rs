//! `banyan run`: a command that gets what the instances get, and nothing between it and the one who typed it.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::process::Finished;
use banyan_testkit::wait;
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(90);

/// Variables that differ between two processes of one kind, or that only a terminal's have.
const OWN: [&str; 4] = ["PORT", "BANYAN_INSTANCE", "BANYAN_SUPERVISED", "TERM"];

fn variables(text: &str, between: char) -> BTreeMap<String, String> {
    text.split(between)
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !OWN.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn first_line(finished: &Finished) -> &str {
    finished.stdout.lines().next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gets_what_the_instances_get_and_reaches_their_database() {
    let mut installation = Installation::new(Manifest::photos(1).env("GREETING", "hello there"));
    installation.up().await;
    let (_, pid) = installation.instances().await.remove(0);
    let theirs = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let ours = installation.verb(&["run", "--", "env"]).await;
    assert_eq!(variables(&ours.stdout, '\n'), variables(&theirs, '\0'));
    assert_eq!(variables(&ours.stdout, '\n')["GREETING"], "hello there");

    let place = "pwd; id -u; echo $PORT";
    let place = installation.verb(&["run", "--", "sh", "-c", place]).await;
    let lines: Vec<&str> = place.stdout.lines().collect();
    let folder = installation.app().canonicalize().unwrap();
    assert_eq!(lines[0], folder.to_str().unwrap());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert_eq!(Some(lines[1]), uid.split_whitespace().next());
    assert!(
        !theirs.contains(&format!("PORT={}\0", lines[2])),
        "a port of its own"
    );

    let seed = [
        "run",
        "--",
        "./photos",
        "seed",
        "--users",
        "5",
        "--posts",
        "3",
        "--follows",
        "4",
    ];
    let seeded = installation.verb(&seed).await;
    assert!(
        seeded.stdout.starts_with("added: 5 users, 4 follows, 3 posts"),
        "{}",
        seeded.output()
    );
    let page = installation.client().get("/api/articles").await.unwrap();
    let articles = String::from_utf8_lossy(page.body()).into_owned();
    assert!(articles.contains("\"articlesCount\":3"), "{articles}");

    // Without a controller it works, too.
    installation.kill_controller();
    let alone = installation
        .verb(&["run", "--", "sh", "-c", "echo $BANYAN_APP"])
        .await;
    assert_eq!(first_line(&alone), "photos");
    installation.verb(&["down"]).await;
    installation.assert_nothing_runs();

    let refused = installation.try_verb(&["run", "--", "true"]).await;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("the database of the app does not run"),
        "{}",
        refused.output()
    );
    assert!(refused.stderr.contains("up` first"), "{}", refused.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_command_is_the_end_of_run() {
    // Nothing runs, and there is no database: the configuration says all.
    let installation = Installation::new(Manifest::misfit("").env("GREETING", "hello"));
    for (command, code) in [
        (&["sh", "-c", "exit 7"][..], 7),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["no-such-program"], 127),
        (&["./notes.txt"], 126),
    ] {
        std::fs::write(installation.app().join("notes.txt"), "not executable").unwrap();
        let finished = installation.try_verb(&[&["run", "--"], command].concat()).await;
        assert_eq!(finished.code(), code, "{command:?}: {}", finished.output());
    }
    let read = installation.command(&["run", "--", "sh", "-c", "read word; echo $GREETING $word"]);
    let read = read.input("world\n").finish(LIMIT).await.unwrap();
    assert_eq!(first_line(&read), "hello world", "{}", read.output());
    let wrong = installation
        .try_verb(&["run", "--process", "wbe", "--", "true"])
        .await;
    assert_eq!(wrong.code(), 1);
    assert!(
        wrong.stderr.contains("there is no process `wbe`; there is web"),
        "{}",
        wrong.output()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_reaches_the_command() {
    let installation = Installation::new(Manifest::misfit(""));
    let script = "trap 'echo interrupted; exit 3' INT; echo begun; while :; do sleep 0.05; done";
    let mut process = installation
        .command(&["run", "--", "sh", "-c", script])
        .start()
        .unwrap();
    wait::until("the command to begin", LIMIT, async || match process.stdout() {
        begun if begun.starts_with("begun") => Ok(()),
        other => Err(format!("{other}{}", process.stderr())),
    })
    .await
    .unwrap();
    process.signal(Signal::INT);
    let status = process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(3), "{}{}", process.stdout(), process.stderr());
    assert!(process.stdout().contains("interrupted"));
}
