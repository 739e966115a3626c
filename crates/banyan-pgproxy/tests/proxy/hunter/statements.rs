//! Prepared statements among failures: more of them than a server connection keeps, an error before a name, DEALLOCATE before an error.

use rand::RngExt as _;

use super::{Expect, Hunter};
use crate::raw::{parse, run, sync};

/// Texts; a server connection keeps fewer.
pub(super) const TEXTS: u64 = 300;

impl Hunter {
    /// What is prepared behind an error is not.
    pub(super) fn name_behind_an_error(&mut self, out: &mut Vec<u8>) -> Expect {
        let slot = self.random.random_range(0..self.prepared.len());
        let kind = self.random.random_range(0..TEXTS);
        parse(out, "", "SELECT 1/0");
        run(out, "", &[]);
        if self.prepared[slot].is_none() {
            parse(out, &format!("s{slot}"), &super::numbered(kind));
        }
        run(out, &format!("s{slot}"), &["never"]);
        sync(out);
        Expect::Error("22012")
    }

    /// All of its statements are gone, whatever comes of the rest of the text; those of others are not.
    pub(super) async fn deallocate_and_fail(&mut self) {
        let found = self.plain("DEALLOCATE ALL; SELECT 1/0").await;
        self.judge(&found, &Expect::Error("22012"));
        self.prepared = [None; 4];
    }
}
