//! Whether a backup can be restored and holds what it should: restored, started, every page and every index looked at.

use std::path::Path;

use super::Backup;
use super::restore::{Progress, Restore, RestoreError, Restored, failed};
use super::scratch::{Folder, Program};

/// What was found to be whole.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    #[serde(flatten)]
    pub restored: Restored,
    /// Pages whose checksums are right: all of them.
    pub pages: u64,
}

impl Restore {
    /// Leaves nothing behind, whatever it finds. Tables and indexes are looked at by `pg_amcheck`, page checksums by
    /// `pg_checksums`; checksums of the files are compared by pgBackRest as it copies them.
    pub async fn verify(
        &self,
        backup: Backup,
        say: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, RestoreError> {
        let verified = self.look(backup, say).await;
        self.clear();
        verified
    }

    async fn look(
        &self,
        backup: Backup,
        say: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verified, RestoreError> {
        let (scratch, restored) = self.recover(backup, say).await?;
        say(Progress::Checking("tables and indexes"));
        let mut arguments = scratch.options();
        let of_all = ["--all", "--install-missing", "--heapallindexed", "--parent-check"];
        arguments.extend(of_all.map(str::to_owned));
        self.tool("pg_amcheck", &arguments, scratch.folder()).await?;
        let folder = scratch
            .stop()
            .await
            .map_err(failed("stop the server in", &self.into))?;
        say(Progress::Checking("page checksums"));
        let arguments = [
            "--check".to_owned(),
            "-D".to_owned(),
            self.into.display().to_string(),
        ];
        let said = self.tool("pg_checksums", &arguments, &folder).await?;
        Ok(Verified {
            restored,
            pages: pages(&said),
        })
    }

    /// What it said; `Err`: it found something.
    async fn tool(
        &self,
        name: &'static str,
        arguments: &[String],
        folder: &Folder,
    ) -> Result<String, RestoreError> {
        let failed = failed("run", Path::new(name));
        let mut program =
            Program::start(&self.bin.join(name), arguments, &self.run_as, folder).map_err(&failed)?;
        loop {
            match program.ended().map_err(&failed)? {
                Some(status) if status.success() => return Ok(program.said()),
                Some(_) => {
                    return Err(RestoreError::Check {
                        program: name,
                        said: program.said(),
                    });
                }
                None => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }
}

/// `Blocks scanned:  2866`
fn pages(said: &str) -> u64 {
    let line = said.lines().find_map(|line| line.strip_prefix("Blocks scanned:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
