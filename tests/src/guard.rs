//! Ends what a test leaves running, even when the test itself is killed.
//!
//! Banyan's children have process groups of their own and outlive their controller, as they should; a test runner that
//! kills a stuck test does not reach them. So a small shell waits for the end of a pipe that only the test holds open.
//! Processes are recognised by the folder of their installation, a random name that no other process has: in the command
//! line, the environment or the working directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The folder comes over the pipe, so that the shell itself does not look like one of its processes. What `grep` and `ls`
/// read is listed before they start, so they do not find themselves either.
const SCRIPT: &str = r#"
read -r dir
read -r _
for round in 1 2 3 4 5 6 7 8 9 10; do
  pids=$(
    {
      grep -lsF -- "$dir" /proc/[0-9]*/cmdline /proc/[0-9]*/environ
      ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -F -- "-> $dir"
    } | sed -n 's|.*/proc/\([0-9]*\)/.*|\1|p'
  )
  [ -n "$pids" ] || break
  kill -9 $pids 2>/dev/null
  sleep 0.1
done
umount -l "$dir/.banyan" 2>/dev/null # the small disk of one test
rm -rf -- "$dir"
"#;

/// Kills every process of the installation in `dir` and deletes the folder, when dropped or when this process is gone.
#[derive(Debug)]
pub struct Guard {
    dir: PathBuf,
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    #[expect(
        clippy::disallowed_methods,
        reason = "the guard must outlive this process, so testkit cannot own it"
    )]
    pub fn over(dir: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .current_dir("/")
            .spawn()
            .expect("failed to start the guard");
        let mut pipe = shell.stdin.take().expect("the guard's stdin is a pipe");
        writeln!(pipe, "{}", dir.display()).expect("the guard reads");
        Self {
            dir: dir.to_owned(),
            shell,
            pipe: Some(pipe),
        }
    }

    /// The processes of the installation that run now: "PID command line".
    pub fn running(&self) -> Vec<(u32, String)> {
        let pids = fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid != self.shell.id() && belongs(*pid, &self.dir))
            .map(|pid| (pid, command_line(pid)))
            .collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipe.take());
        self.shell.wait().ok();
    }
}

/// Zombies have no command line, environment or directory: they do not count.
fn belongs(pid: u32, dir: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let needle = dir.as_os_str().as_encoded_bytes();
    let mentions = |file: &str| {
        let bytes = fs::read(process.join(file)).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
        || mentions("cmdline")
        || mentions("environ")
}

pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use banyan_testkit::process::Run;

    use super::*;

    #[tokio::test]
    async fn whatever_belongs_to_the_folder_ends_with_the_guard() {
        let dir = tempfile::Builder::new()
            .prefix("banyan-guard-")
            .tempdir()
            .unwrap()
            .keep();
        let guard = Guard::over(&dir);
        let by_environment = Run::new("sleep").args(["300"]).env("MARK", &dir);
        let by_directory = Run::new("sleep").args(["301"]).cwd(&dir);
        let by_argument = Run::new("tail").args(["-f".as_ref(), "/dev/null".as_ref(), dir.as_os_str()]);
        let mut started: Vec<_> = [by_environment, by_directory, by_argument]
            .iter()
            .map(|run| run.start().unwrap())
            .collect();
        banyan_testkit::wait::until("all to be seen", Duration::from_secs(60), async || {
            let seen = guard.running();
            if seen.len() == 3 {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await
        .unwrap();
        drop(guard);
        for process in &mut started {
            process.ended(Duration::from_secs(60)).await.unwrap();
        }
        assert!(!dir.exists(), "the folder is deleted");
    }
}
