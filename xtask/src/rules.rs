//! Which crate may import which: the absent lines of `Cargo.toml` that the architecture stands on.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `null`: a normal one; "dev", "build".
    kind: Option<String>,
}

/// Imports go downward only, and the control plane (reconcile, supervisor) never meets the data plane (edge, upstream).
/// A crate that is missing here is an error, so that each new one gets its place.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("banyan-telemetry", &[]),
    ("banyan-runtime", &["banyan-telemetry"]),
    ("banyan-tls", &[]),
    ("banyan-transcode", &[]),
    ("banyan-pictures", &[]),
    ("banyan-config", &["banyan-transcode"]),
    ("banyan-httpcache", &[]),
    ("banyan-topology", &["banyan-config"]),
    ("banyan-alert", &["banyan-config"]),
    ("banyan-capacity", &["banyan-config"]),
    (
        "banyan-upstream",
        &[
            "banyan-config",
            "banyan-topology",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan-supervisor",
        &[
            "banyan-config",
            "banyan-topology",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan-edge",
        &[
            "banyan-config",
            "banyan-httpcache",
            "banyan-pictures",
            "banyan-topology",
            "banyan-transcode",
            "banyan-upstream",
            "banyan-tls",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan-pgproxy",
        &[
            "banyan-config",
            "banyan-topology",
            "banyan-upstream",
            "banyan-tls",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan-observe",
        &[
            "banyan-alert",
            "banyan-tls",
            "banyan-config",
            "banyan-topology",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan-reconcile",
        &[
            "banyan-capacity",
            "banyan-config",
            "banyan-topology",
            "banyan-supervisor",
            "banyan-tls",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan",
        &[
            "banyan-alert",
            "banyan-capacity",
            "banyan-config",
            "banyan-topology",
            "banyan-upstream",
            "banyan-edge",
            "banyan-observe",
            "banyan-pgproxy",
            "banyan-supervisor",
            "banyan-reconcile",
            "banyan-tls",
            "banyan-runtime",
            "banyan-telemetry",
        ],
    ),
    (
        "banyan-fuzz",
        &[
            "banyan-config",
            "banyan-transcode",
            "banyan-edge",
            "banyan-pgproxy",
            "banyan-runtime",
        ],
    ),
    (
        "banyan-testkit",
        &["banyan-runtime", "banyan-telemetry", "banyan-tls"],
    ),
    ("banyan-e2e", &["banyan-testkit", "banyan-runtime", "banyan-tls"]),
    // Published, for apps: nothing of the platform comes along.
    ("banyan-sdk", &[]),
    // The sample app is an app like any other: it knows of ours what is made for apps.
    ("photos", &["banyan-sdk"]),
    ("xtask", &[]),
];

/// No tokio, no sockets, no randomness: decisions are values that tests can compare.
const PURE: &[&str] = &[
    "banyan-alert",
    "banyan-config",
    "banyan-httpcache",
    "banyan-pictures",
    "banyan-topology",
    "banyan-transcode",
    "banyan-upstream",
];
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "hyper-util",
    "socket2",
    "rustix",
    "rand",
    "tempfile",
];

/// A heavy library is used in one place: its build time, its attack surface and its next major version stay there.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("clap", &["banyan", "photos"]),
    ("image", &["banyan-pictures", "photos"]),
    ("ravif", &["banyan-pictures"]),
    ("webp", &["banyan-pictures", "photos"]),
    ("axum", &["banyan-sdk", "photos"]),
    ("sqlx", &["banyan-sdk", "photos"]),
    // Edges count rate limits together there, with the same script that every other client of Redis would need.
    ("redis", &["banyan-edge", "banyan-sdk"]),
    ("argon2", &["banyan-edge", "banyan-sdk", "photos"]),
    ("jsonwebtoken", &["banyan-edge", "banyan-sdk", "photos"]),
    ("axum-login", &["banyan-sdk"]),
    ("tower-sessions", &["banyan-sdk"]),
    ("sha1", &["banyan-sdk"]),
    ("bcrypt", &["banyan-edge"]),
    ("mimalloc", &["banyan"]),
    ("rustls", &["banyan-tls"]),
    ("rcgen", &["banyan-tls"]),
    (
        "tracing-subscriber",
        &["banyan-sdk", "banyan-telemetry", "photos"],
    ),
];

/// One line per broken rule.
pub(crate) fn broken(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| [layers(package), pure(package), places(package)].concat())
        .collect()
}

fn layers(package: &Package) -> Vec<String> {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!(
            "{}: has no place in the layers (MAY_IMPORT)",
            package.name
        )];
    };
    let ours = |dependency: &&Dependency| MAY_IMPORT.iter().any(|(name, _)| *name == dependency.name);
    package
        .dependencies
        .iter()
        .filter(ours)
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        // Tests may use the test world.
        .filter(|dependency| {
            !(dependency.kind.as_deref() == Some("dev") && dependency.name == "banyan-testkit")
        })
        .map(|dependency| format!("{}: may not import {}", package.name, dependency.name))
        .collect()
}

fn pure(package: &Package) -> Vec<String> {
    if !PURE.contains(&package.name.as_str()) {
        return Vec::new();
    }
    normal(package)
        .filter(|name| IMPURE.contains(name))
        .map(|name| format!("{}: is pure and may not import {name}", package.name))
        .collect()
}

fn places(package: &Package) -> Vec<String> {
    normal(package)
        .filter_map(|name| ONLY_IN.iter().find(|(library, _)| *library == name))
        .filter(|(_, users)| !users.contains(&package.name.as_str()))
        .map(|(library, users)| format!("{}: {library} is used only in {}", package.name, users.join(", ")))
        .collect()
}

fn normal(package: &Package) -> impl Iterator<Item = &str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.is_none())
        .map(|dependency| dependency.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
        };
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    #[test]
    fn the_planes_may_not_import_each_other() {
        let broken = broken(&[package(
            "banyan-reconcile",
            &[("banyan-edge", None), ("tokio", None)],
        )]);
        assert_eq!(broken, ["banyan-reconcile: may not import banyan-edge"]);
    }

    #[test]
    fn only_tests_may_use_the_test_world() {
        assert!(broken(&[package("banyan-edge", &[("banyan-testkit", Some("dev"))])]).is_empty());
        assert_eq!(
            broken(&[package("banyan-edge", &[("banyan-testkit", None)])]).len(),
            1
        );
    }

    #[test]
    fn pure_crates_may_not_import_tokio() {
        let broken = broken(&[package("banyan-topology", &[("tokio", None)])]);
        assert_eq!(broken, ["banyan-topology: is pure and may not import tokio"]);
    }

    #[test]
    fn a_heavy_library_has_its_place() {
        let broken = broken(&[package("banyan-config", &[("axum", None)])]);
        assert_eq!(broken, ["banyan-config: axum is used only in banyan-sdk, photos"]);
    }

    #[test]
    fn a_new_crate_must_be_given_a_place() {
        assert_eq!(broken(&[package("banyan-util", &[])]).len(), 1);
    }
}
