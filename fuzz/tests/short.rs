//! The corpus and a few mutations of it; `make drill` runs each target for a minute.

use banyan_fuzz::{TARGETS, Target, Until, corpus, passes, run};

/// `inputs`: enough to meet each kind of mutation at each kind of example.
fn short(name: &str, inputs: u64) {
    let target: &Target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target");
    let examples = corpus(target).expect("a corpus");
    assert!(examples.len() >= 3, "too few examples");
    for (path, bytes) in &examples {
        assert!(passes(target, bytes), "{}", path.display());
    }
    let examples: Vec<Vec<u8>> = examples.into_iter().map(|(_, bytes)| bytes).collect();
    if let Err(found) = run(target, &examples, 0, Until::Inputs(inputs)) {
        panic!("seed {}: {:?}", found.seed, String::from_utf8_lossy(&found.input));
    }
}

#[test]
fn requests() {
    short("http1_requests", 4000);
}

#[test]
fn answers() {
    short("http1_answers", 4000);
}

#[test]
fn proxy_headers() {
    short("proxy_protocol", 4000);
}

#[test]
fn configurations() {
    short("config", 800);
}

#[test]
fn routes() {
    short("routes", 4000);
}

#[test]
fn sql() {
    short("sql", 4000);
}

#[test]
fn function_bodies() {
    short("function_bodies", 2000);
}

#[test]
fn server_names() {
    short("sni", 4000);
}

#[test]
fn codings() {
    short("accept_encoding", 4000);
}

#[test]
fn parts_of_aggregates() {
    short("part_targets", 200);
}

#[test]
fn path_templates() {
    short("path_templates", 4000);
}

#[test]
fn tokens() {
    short("tokens", 2000);
    const SET: &str = include_str!("../../crates/banyan-edge/tests/edge/filters/keys/set.json");
    for signed in [
        include_str!("../corpus/tokens/rs256"),
        include_str!("../corpus/tokens/es256"),
    ] {
        let claims = banyan_edge::fuzz::token(SET, signed).expect("what was signed is believed");
        assert_eq!(claims["sub"], "ann");
    }
}
