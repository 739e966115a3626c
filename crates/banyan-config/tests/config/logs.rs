//! What is kept of logs: read, written out, and what is no rule.

use std::path::PathBuf;
use std::time::Duration;

use banyan_config::render_resolved;
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n";

#[test]
fn it_is_read_and_written_out_as_the_same() {
    let text =
        format!("{BASE}[logs]\nfile = \"1MiB\"\nkeep = \"7d\"\nsize = \"100MiB\"\narchive = \"old\"\n");
    let config = load(&text).unwrap().config;
    assert_eq!(
        (config.logs.file_bytes, config.logs.total_bytes),
        (1 << 20, 100 << 20)
    );
    assert_eq!(config.logs.keep, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.logs.archive, Some(PathBuf::from("old")));
    let resolved = render_resolved(&config, false);
    assert_eq!(load(&resolved).unwrap().config, config, "{resolved}");
}

#[test]
fn all_logs_together_hold_some_files() {
    expect![[r#"
        error: `size` is 64MiB, less than 4 files of 32MiB
         --> banyan.toml:6:8
          |
        6 | size = "64MiB"
          |        ^^^^^^^
          = write size = "128MiB" or more, or a smaller `file`

        1 error; nothing was changed"#]]
    .assert_eq(&told(&format!("{BASE}[logs]\nsize = \"64MiB\"\n")));
}
