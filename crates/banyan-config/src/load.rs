//! Texts in, one [`Config`] out.

use crate::error::{Errors, Problem};
use crate::model::Config;
use crate::report::Report;
use crate::secrets::{self, Secrets};
use crate::source::Sources;

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub secrets: Secrets,
    /// Allowed, but probably not meant.
    pub warnings: Vec<Problem>,
}

/// All errors at once, in the order of the files and lines.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Errors> {
    let report = Report::default();
    let text = String::from_utf8_lossy(&sources.main.bytes);
    let main = report.add_file(&sources.main.path, &text, false);
    let _secrets = secrets::parse("", main, &report);
    report.file_error(main, "reading a configuration is not built yet", &[]);
    report
        .finish()
        .map(|_| unreachable!("an error was just reported"))
}
