//! `[edge.place.NAME]` as it is in force.

use super::Writer;
use crate::name::PlaceName;
use crate::place::EdgePlace;

pub(super) fn table(out: &mut Writer, name: &PlaceName, place: &EdgePlace, beside: Option<&PlaceName>) {
    out.table(&format!("edge.place.{name}"));
    out.line("port", place.listen.port());
    if let Some(https) = place.https {
        out.line("https_port", https.port());
    }
    if let Some(beside) = beside {
        out.text("beside", beside.as_str());
    }
    out.line("public", place.listen.ip().is_unspecified());
}
