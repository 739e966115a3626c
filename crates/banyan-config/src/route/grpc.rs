//! `grpc`: HTTP with JSON for the unary methods of a gRPC service.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use banyan_transcode::Api;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Builder, pairs};
use crate::model::Protocol;
use crate::name::ProcessName;
use crate::read::{Reader, Spot};
use crate::report::Place;
use crate::source::shorten;

/// It travels in snapshots.
const LARGEST: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcode {
    pub process: ProcessName,
    /// As written, relative to banyan.toml.
    pub file: PathBuf,
    /// What is in it. Together with `services` and `bindings` it compiles.
    pub descriptors: Descriptors,
    /// Whose rules count; none: all.
    pub services: Vec<String>,
    /// Besides the rules of the set: `GET /v1/items/{id}` → `shop.v1.Shop/GetItem`.
    pub bindings: BTreeMap<String, String>,
    /// Bytes of a request's body, and of an answer's message.
    pub max: u64,
}

/// A FileDescriptorSet; base64 in a snapshot.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Descriptors(pub Vec<u8>);

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Descriptors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Descriptors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

impl Builder<'_> {
    pub(super) fn transcode(&self, route: &Reader<'_>) -> Transcode {
        let table = route.table("grpc");
        self.one_reading(route, "grpc");
        let process = match table.text("process") {
            Some(spot) => self.known(&spot.value, &spot.place),
            None => Some(self.default.clone()),
        };
        let process = process.unwrap_or_else(|| self.default.clone());
        let file = table.text("descriptors");
        let place = file.as_ref().map(|file| file.place.clone());
        if let (Some(entry), Some(known)) = (
            table.entry("process").or(route.entry("grpc")),
            self.processes.get(&process),
        ) && known.protocol != Protocol::H2
        {
            let help = format!("write protocol = \"h2\" in [process.{process}]");
            let message = format!("`{process}` is not spoken to by HTTP/2, which gRPC needs");
            self.report.error(&entry.node.place, message, &[&help]);
        }
        let bytes = file
            .as_ref()
            .and_then(|file| self.descriptors(file))
            .unwrap_or_default();
        let bindings: Vec<_> = pairs(&table, "bindings").collect();
        let transcode = Transcode {
            process,
            file: file.map(|file| file.value.into()).unwrap_or_default(),
            descriptors: Descriptors(bytes),
            services: table.words("services"),
            bindings: bindings
                .iter()
                .map(|(entry, target)| (entry.name.clone(), target.value.clone()))
                .collect(),
            max: table.bytes("max"),
        };
        if let (Some(place), false) = (place, transcode.descriptors.0.is_empty()) {
            let at = |key: &str| {
                let found = bindings.iter().find(|(entry, _)| entry.name == key);
                found.map_or_else(|| place.clone(), |(entry, _)| entry.place.clone())
            };
            self.compiles(&transcode, &place, at);
        }
        transcode
    }

    fn compiles(&self, transcode: &Transcode, file: &Place, at: impl Fn(&str) -> Place) {
        let compiled = Api::compile(&transcode.descriptors.0, &transcode.services, &transcode.bindings);
        for problem in compiled.err().unwrap_or_default() {
            let place = problem.binding.as_deref().map_or_else(|| file.clone(), &at);
            self.report.error(&place, problem.message, &[&problem.help]);
        }
    }

    fn descriptors(&self, file: &Spot<String>) -> Option<Vec<u8>> {
        let path = Path::new(&file.value);
        let shown = shorten(&self.files.folder.join(path));
        let help = "make it with protoc --include_imports --descriptor_set_out=FILE";
        match (self.files.read)(path) {
            Ok(text) if text.bytes.is_empty() || text.bytes.len() > LARGEST => {
                let message = format!(
                    "{} has {} bytes: 1 to {LARGEST} are possible",
                    shown.display(),
                    text.bytes.len()
                );
                self.report
                    .error(&file.place, message, &[help, "without --include_source_info"]);
                None
            }
            Ok(text) => Some(text.bytes),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", shown.display());
                self.report.error(&file.place, message, &[help]);
                None
            }
        }
    }
}
