//! Project chores: `cargo run -p xtask -- rules` checks the rules for dependencies that Cargo.toml files cannot say.

mod rules;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

const USAGE: &str = "usage: cargo run -p xtask -- rules";

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("rules"), None) => check_rules(),
        _ => bail!(USAGE),
    }
}

fn check_rules() -> anyhow::Result<ExitCode> {
    let broken = rules::broken(&workspace()?);
    for line in &broken {
        eprintln!("{line}");
    }
    if broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "{} rule(s) broken; they are in xtask/src/rules.rs, each with its reason",
        broken.len()
    );
    Ok(ExitCode::FAILURE)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a chore of the developer's: not part of the product"
)]
fn workspace() -> anyhow::Result<Vec<rules::Package>> {
    let output = std::process::Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("failed to run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: rules::Metadata =
        serde_json::from_slice(&output.stdout).context("failed to read cargo metadata's answer")?;
    Ok(metadata.packages)
}
