//! What promtool and amtool say of the exported files, and whether Prometheus' alerts are ours on the same series. Where the
//! programs are not installed (Debian: prometheus, prometheus-alertmanager), these tests say that they were skipped.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use banyan_alert::{Silences, export};

use crate::script::{STEP, alerts, lines, play, rules_of};

const EVERYTHING: &str = "[alerts]\ncritical = [\"pay\"]\n[alerts.to.all]\nwebhook = \"http://127.0.0.1:9/a\"\n\
                          [alerts.to.pager]\nwebhook_file = \"pager.url\"\nseverity = [\"P0\", \"P1\"]\n\
                          [alerts.to.am]\nalertmanager = \"http://am:9093\"\n";

/// `None`: it is not installed, which was said.
#[expect(clippy::disallowed_methods, reason = "a program that only this test needs")]
fn run(program: &str, arguments: &[&Path]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        output => Some(output.unwrap()),
    }
}

fn accepts(program: &str, words: &[&str], file: &str, text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(file);
    std::fs::write(&path, text).unwrap();
    let mut arguments: Vec<&Path> = words.iter().map(Path::new).collect();
    arguments.push(&path);
    let Some(output) = run(program, &arguments) else {
        return;
    };
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}\n{text}");
}

fn exported() -> String {
    export::prometheus(&rules_of(EVERYTHING), "shop", STEP)
}

#[test]
fn promtool_takes_the_rules() {
    accepts(
        "promtool",
        &["check", "rules", "--lint-fatal"],
        "rules.yml",
        &exported(),
    );
}

#[test]
fn amtool_takes_the_configuration() {
    let alerts = alerts(EVERYTHING);
    accepts(
        "amtool",
        &["check-config"],
        "alertmanager.yml",
        &export::alertmanager(&alerts),
    );
    let none = self::alerts("");
    accepts(
        "amtool",
        &["check-config"],
        "alertmanager.yml",
        &export::alertmanager(&none),
    );
}

/// Every question of every dashboard, as the expression of a rule.
#[test]
fn promtool_takes_the_questions_of_the_dashboards() {
    let boards = export::dashboards();
    assert_eq!(boards.len(), 5);
    let mut text = "groups:\n  - name: dashboards\n    rules:\n".to_owned();
    let queries = boards.iter().flat_map(|board| &board.queries);
    for (at, query) in queries.enumerate() {
        let query = serde_json::Value::from(query.replace("$__rate_interval", "1m"));
        writeln!(text, "      - record: question:{at}\n        expr: {query}").unwrap();
    }
    accepts("promtool", &["check", "rules"], "dashboards.yml", &text);
}

/// A script that fires most rules, and one that fires none.
fn scripts() -> [String; 2] {
    let count = "http_server_request_duration_seconds_count";
    let bucket = "http_server_request_duration_seconds_bucket";
    let all = format!(
        "{count}{{http_route=\"*\",http_response_status_code=\"2xx\"}} 0+3000x40 120000+2500x59 270000+3000x80\n\
         {count}{{http_route=\"*\",http_response_status_code=\"5xx\"}} 0x40 500+500x59 30000x81\n\
         {count}{{http_route=\"pay\",http_response_status_code=\"2xx\"}} 0+300x40 12000x59 12000+300x80\n\
         {count}{{http_route=\"pay\",http_response_status_code=\"5xx\"}} 0x40 300+300x59 18000x81\n\
         {bucket}{{le=\"0.1\"}} 0+300x40 12270+270x59 28500+300x80\n{bucket}{{le=\"5\"}} 0+300x180\n{bucket}{{le=\"+Inf\"}} 0+300x180\n\
         banyan_postgres_up{{}} 1x100 0x10 1x70\n\
         banyan_edge_endpoint_ready{{upstream=\"web\",endpoint=\"web.1@r1\"}} 1x120 0x10 1x50\n\
         banyan_pgproxy_lag_seconds{{node=\"db2\"}} 0x20 6x20 0x140\n\
         redis_up{{redis=\"sessions\"}} 1x30 0x30 1x120\n\
         system_filesystem_usage_bytes{{system_filesystem_state=\"used\"}} 80x50 95x40 80x90\n\
         system_filesystem_usage_bytes{{system_filesystem_state=\"free\"}} 20x50 5x40 20x90\n\
         system_memory_usage_bytes{{system_memory_state=\"used\"}} 70x50 85x60 70x70\n\
         system_memory_usage_bytes{{system_memory_state=\"free\"}} 30x50 15x60 30x70\n\
         redis_keyspace_hits_total{{redis=\"cache\"}} 0+50x80 4100+100x100\n\
         redis_keyspace_misses_total{{redis=\"cache\"}} 0+50x80 4000x100\n"
    );
    let quiet = format!(
        "{count}{{http_route=\"*\",http_response_status_code=\"2xx\"}} 0+3000x180\n\
         {count}{{http_route=\"*\",http_response_status_code=\"5xx\"}} 0+1x180\n\
         {bucket}{{le=\"0.1\"}} 0+300x180\n{bucket}{{le=\"5\"}} 0+300x180\n{bucket}{{le=\"+Inf\"}} 0+300x180\n\
         banyan_postgres_up{{}} 1x180\nbanyan_edge_endpoint_ready{{upstream=\"web\"}} 1x180\n"
    );
    [all, quiet]
}

/// The names of what fires at each step, by our own judgement.
fn ours(script: &str) -> Vec<Vec<String>> {
    let mut fires = Vec::new();
    play(
        &rules_of(EVERYTHING),
        script,
        &Silences::default(),
        |_, state, _| {
            let mut names: Vec<String> = state.firing().map(|alert| alert.rule.to_string()).collect();
            names.sort();
            fires.push(names);
        },
    );
    fires
}

/// Steps at which what fires has been the same for two minutes and stays so for two: Prometheus extrapolates at the ends of
/// windows, so it may differ by a step or two about the moment of a change.
fn settled(fires: &[Vec<String>]) -> Vec<usize> {
    const ROOM: usize = 4;
    let steps = ROOM..fires.len().saturating_sub(ROOM);
    steps
        .filter(|step| {
            fires[step - ROOM..=step + ROOM]
                .iter()
                .all(|names| *names == fires[*step])
        })
        .collect()
}

fn promtool_test(script: &str, fires: &[Vec<String>]) -> String {
    let mut text =
        "rule_files: [rules.yml]\nevaluation_interval: 30s\ntests:\n  - interval: 30s\n    input_series:\n"
            .to_owned();
    for line in lines(script) {
        let labels: Vec<String> = line
            .labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let values: Vec<String> = line
            .values
            .iter()
            .map(|value| value.map_or("_".to_owned(), |value| value.to_string()))
            .collect();
        writeln!(
            text,
            "      - series: '{}{{{}}}'\n        values: '{}'",
            line.name,
            labels.join(","),
            values.join(" ")
        )
        .unwrap();
    }
    // The edge itself is there all the time.
    let ones = vec!["1"; fires.len()].join(" ");
    writeln!(
        text,
        "      - series: 'banyan_build_info{{role=\"edge\"}}'\n        values: '{ones}'"
    )
    .unwrap();
    text.push_str("    promql_expr_test:\n");
    for step in settled(fires) {
        let at = step as u64 * STEP.as_secs();
        let expr = "count by (alertname) (ALERTS{alertstate=\"firing\", app=\"shop\"})";
        writeln!(
            text,
            "      - expr: '{expr}'\n        eval_time: {at}s\n        exp_samples:"
        )
        .unwrap();
        for name in &fires[step] {
            writeln!(
                text,
                "          - {{ labels: '{{alertname=\"{name}\"}}', value: 1 }}"
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn prometheus_fires_what_we_fire_on_the_same_series() {
    for script in scripts() {
        let fires = ours(&script);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rules.yml"), exported()).unwrap();
        let test = dir.path().join("test.yml");
        std::fs::write(&test, promtool_test(&script, &fires)).unwrap();
        let Some(output) = run("promtool", &[Path::new("test"), Path::new("rules"), &test]) else {
            return;
        };
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_script_of_faults_fires_most_rules_and_the_quiet_one_none() {
    let [faults, quiet] = scripts();
    let mut names: Vec<String> = ours(&faults).concat();
    names.sort();
    names.dedup();
    assert!(names.len() >= 12, "{names:?}");
    assert!(ours(&quiet).concat().is_empty());
}
