//! `[edge.place.NAME]` as it is in force.

use super::Writer;
use crate::name::PlaceName;
use crate::place::EdgePlace;

pub(super) fn table(out: &mut Writer, name: &PlaceName, place: &EdgePlace) {
    out.table(&format!("edge.place.{name}"));
    out.line("port", place.listen.port());
    if let Some(https) = place.https {
        out.line("https_port", https.port());
    }
    out.line("public", place.listen.ip().is_unspecified());
}
