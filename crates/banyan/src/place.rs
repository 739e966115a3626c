//! Where this installation is: configuration, overlay, state.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use banyan_reconcile::StateDir;
use banyan_reconcile::proto::ConfigPaths;

use crate::render::error::{Advise, advised};

#[derive(Clone, Debug)]
pub(crate) struct Place {
    config: PathBuf,
    env: Option<String>,
    state: Option<PathBuf>,
}

impl Place {
    pub(crate) fn new(config: PathBuf, env: Option<String>, state: Option<PathBuf>) -> Self {
        Self { config, env, state }
    }

    /// As typed, for messages.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The folder of the configuration, as typed; `.` for a bare name.
    pub(crate) fn folder(&self) -> &Path {
        match self.config.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// `banyan.production.toml` for `--env production`.
    pub(crate) fn overlay(&self) -> Option<PathBuf> {
        let env = self.env.as_ref()?;
        let stem = self.config.file_stem().unwrap_or_default().to_string_lossy();
        Some(self.folder().join(format!("{stem}.{env}.toml")))
    }

    /// Absolute paths for the controller, whose working directory may be another. The files must exist.
    pub(crate) fn config_paths(&self) -> anyhow::Result<ConfigPaths> {
        let file = self.config.canonicalize();
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.no_config());
            }
            other => other.with_context(|| format!("failed to find {}", self.config.display()))?,
        };
        let overlay = self
            .overlay()
            .map(|path| {
                path.canonicalize()
                    .with_context(|| format!("failed to find {}, which --env asks for", path.display()))
            })
            .transpose()
            .next_step("write that file, or leave --env away")?;
        Ok(ConfigPaths { file, overlay })
    }

    /// The state folder, absolute. It need not exist; the folder it lies in must.
    pub(crate) fn state(&self) -> anyhow::Result<StateDir> {
        let path = self
            .state
            .clone()
            .unwrap_or_else(|| self.folder().join(".banyan"));
        if let Ok(found) = path.canonicalize() {
            return Ok(StateDir::new(found));
        }
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let parent = parent
            .canonicalize()
            .with_context(|| format!("failed to find {}", parent.display()))?;
        Ok(StateDir::new(parent.join(path.file_name().unwrap_or_default())))
    }

    /// `banyan`, or `banyan --config other.toml`: how the next command must begin to mean this installation.
    pub(crate) fn command(&self) -> String {
        let mut command = "banyan".to_owned();
        if self.config != Path::new("banyan.toml") {
            command.push_str(&format!(" --config {}", self.config.display()));
        }
        if let Some(env) = &self.env {
            command.push_str(&format!(" --env {env}"));
        }
        if let Some(state) = &self.state {
            command.push_str(&format!(" --state {}", state.display()));
        }
        command
    }

    /// The global options that make another `banyan` mean this installation.
    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments = vec!["--config".into(), self.config.clone().into()];
        if let Some(env) = &self.env {
            arguments.extend(["--env".into(), env.into()]);
        }
        if let Some(state) = &self.state {
            arguments.extend(["--state".into(), state.clone().into()]);
        }
        arguments
    }

    fn no_config(&self) -> anyhow::Error {
        let folder = self
            .folder()
            .canonicalize()
            .unwrap_or_else(|_| self.folder().to_owned());
        let name = self.config.file_name().unwrap_or_default().to_string_lossy();
        advised(
            anyhow::anyhow!("there is no {name} in {}", folder.display()),
            "`banyan init` looks at the folder and writes one; `--config FILE` names another",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(config: &str, env: Option<&str>) -> Place {
        Place::new(config.into(), env.map(str::to_owned), None)
    }

    #[test]
    fn the_overlay_lies_beside_the_configuration_and_carries_its_name() {
        assert_eq!(place("banyan.toml", None).overlay(), None);
        let overlay = place("stages/single.toml", Some("production")).overlay();
        assert_eq!(overlay, Some("stages/single.production.toml".into()));
    }

    #[test]
    fn state_lies_beside_the_configuration_wherever_one_stands() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let place = Place::new(root.join("banyan.toml"), None, None);
        assert_eq!(place.state().unwrap().path(), root.join(".banyan"));
    }

    #[test]
    fn the_next_command_means_the_same_installation() {
        assert_eq!(place("banyan.toml", None).command(), "banyan");
        assert_eq!(
            place("stages/a.toml", Some("test")).command(),
            "banyan --config stages/a.toml --env test"
        );
    }
}
