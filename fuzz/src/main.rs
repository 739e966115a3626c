//! `banyan-fuzz [--seconds N] [--seed N] [TARGET…]`: runs every target (or those) for so long, from the seed on.
//!
//! A failing input is saved in the folder for temporary files, and its path printed: put it into the target's corpus.

use std::process::ExitCode;
use std::time::Duration;

use banyan_fuzz::{Found, TARGETS, Target, Until, corpus, passes, run};
use banyan_runtime::Clock;

struct Wanted {
    seconds: u64,
    seed: u64,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(wrong) => {
            eprintln!("banyan-fuzz: {wrong}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for target in TARGETS {
        if wanted.names.is_empty() || wanted.names.iter().any(|name| name == target.name) {
            failed |= !fuzz(target, &wanted);
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        seconds: 60,
        // Another one each time: over the days more is tried. It is printed, so that a run can be repeated.
        seed: Clock.unix_ms(),
        names: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value
                .parse()
                .map_err(|_| format!("{argument} takes a number, not `{value}`"))
        };
        match argument.as_str() {
            "--seconds" => wanted.seconds = number()?,
            "--seed" => wanted.seed = number()?,
            name if TARGETS.iter().any(|target| target.name == name) => wanted.names.push(argument),
            other => {
                let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                return Err(format!("`{other}` is no target; there are: {}", known.join(", ")));
            }
        }
    }
    Ok(wanted)
}

/// Whether nothing was found.
fn fuzz(target: &Target, wanted: &Wanted) -> bool {
    let inputs = match corpus(target) {
        Ok(inputs) => inputs,
        Err(error) => {
            eprintln!("{}: its corpus cannot be read: {error}", target.name);
            return false;
        }
    };
    let bad = inputs.iter().filter(|(_, bytes)| !passes(target, bytes));
    let bad = bad
        .inspect(|(path, _)| eprintln!("{}: fails with {}", target.name, path.display()))
        .count();
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, bytes)| bytes).collect();
    let until = Until::Time(Duration::from_secs(wanted.seconds));
    match run(target, &inputs, wanted.seed, until) {
        Ok(taken) => {
            eprintln!(
                "{:<16} {taken} inputs in {} s, from seed {} on",
                target.name, wanted.seconds, wanted.seed
            );
            bad == 0
        }
        Err(found) => {
            report(target, &found);
            false
        }
    }
}

fn report(target: &Target, found: &Found) {
    let path = std::env::temp_dir().join(format!("banyan-fuzz-{}-{}", target.name, found.seed));
    let saved = match std::fs::write(&path, &found.input) {
        Ok(()) => format!("saved as {}", path.display()),
        Err(error) => format!("not saved: {error}"),
    };
    eprintln!(
        "{}: fails at seed {}; the input is {saved}",
        target.name, found.seed
    );
}
