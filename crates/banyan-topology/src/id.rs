//! Names of things. One type per name, so that a release number cannot be passed for an epoch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use banyan_config::{AppName, PlaceName, ProcessName};

/// Number of a release: 1, 2, 3 … per installation, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(pub u32);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Number of a snapshot; only ever grows, over restarts of the controller too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One running copy of a process: `web.1@r3` is slot 1 of process `web` in release 3.
///
/// In a deploy the old and the new copy of a slot run side by side, so the release is part of the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    pub process: ProcessName,
    /// 1, 2, 3 … within the process.
    pub slot: u32,
    pub release: ReleaseId,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.process, self.slot, self.release)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an instance name; they look like web.1@r3")]
pub struct NotAnInstanceId(String);

impl FromStr for InstanceId {
    type Err = NotAnInstanceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (slot_of, release) = text.rsplit_once("@r")?;
            let (process, slot) = slot_of.rsplit_once('.')?;
            Some(Self {
                process: process.parse().ok()?,
                slot: slot.parse().ok()?,
                release: ReleaseId(release.parse().ok()?),
            })
        };
        parse().ok_or_else(|| NotAnInstanceId(text.to_owned()))
    }
}

impl Serialize for InstanceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InstanceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One PostgreSQL server of an installation: `db1`. Numbers are given once; who is primary changes, names do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The only one of an installation without replicas.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "db{}", self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the name of a database server; they look like db1")]
pub struct NotANodeId(String);

impl FromStr for NodeId {
    type Err = NotANodeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("db").and_then(|number| number.parse().ok());
        let id = number.map(Self).filter(|id| id.0 > 0 && id.to_string() == text);
        id.ok_or_else(|| NotANodeId(text.to_owned()))
    }
}

impl Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
