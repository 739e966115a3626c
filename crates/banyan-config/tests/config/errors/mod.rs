//! Every mistake that people make, and the message that they get. `UPDATE_EXPECT=1 cargo test -p banyan-config` rewrites
//! them; read the difference as a tired person would.

mod app;
mod database;
mod edge;
mod file;
mod process;
mod redis;
mod value;

use expect_test::Expect;

fn check(input: &str, expected: Expect) {
    expected.assert_eq(&crate::told(input));
}
