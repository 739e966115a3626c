//! Which PostgreSQL: what is installed, what the data needs, what was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// Where Debian puts each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    pub major: u32,
    /// Holds `postgres` and `initdb`.
    pub bin: PathBuf,
}

/// Every installed version, newest first; Debian's folders, then those of `search` (the folders of PATH). Blocking.
pub fn installed(search: &[PathBuf]) -> Vec<Installation> {
    let mut found = BTreeMap::new();
    let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    for folder in debian.map(|entry| entry.path()) {
        let major = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(major) = major
            && is_server(&folder.join("bin"))
        {
            found.entry(major).or_insert_with(|| folder.join("bin"));
        }
    }
    for bin in search.iter().filter(|bin| is_server(bin)) {
        if let Some(major) = ask_version(bin) {
            found.entry(major).or_insert_with(|| bin.clone());
        }
    }
    let newest_first = found.into_iter().rev();
    newest_first
        .map(|(major, bin)| Installation { major, bin })
        .collect()
}

fn is_server(bin: &Path) -> bool {
    bin.join("postgres").is_file() && bin.join("initdb").is_file()
}

fn ask_version(bin: &Path) -> Option<u32> {
    #[expect(
        clippy::disallowed_methods,
        reason = "prints its version and ends; nothing to supervise"
    )]
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .env_clear()
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 15.14 (Debian …)`
fn parse_version(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Major version of a data directory; `None`: there is none there yet.
pub fn of_data(data: &Path) -> Result<Option<u32>, PostgresError> {
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(PostgresError::NotData {
                data: data.to_owned(),
            }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let occupied = fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some());
            if occupied {
                return Err(PostgresError::NotData {
                    data: data.to_owned(),
                });
            }
            Ok(None)
        }
        Err(source) => Err(PostgresError::File {
            operation: "read",
            path,
            source,
        }),
    }
}

/// The data decides; without data what is `wanted`, else the newest.
pub fn choose(
    installed: &[Installation],
    wanted: Option<u32>,
    data: Option<u32>,
) -> Result<Installation, PostgresError> {
    if let (Some(wanted), Some(data)) = (wanted, data)
        && wanted != data
    {
        return Err(PostgresError::OtherMajor { wanted, data });
    }
    let Some(newest) = installed.first() else {
        return Err(PostgresError::NoneInstalled);
    };
    match wanted.or(data) {
        None => Ok(newest.clone()),
        Some(major) => {
            let found = installed.iter().find(|installation| installation.major == major);
            found.cloned().ok_or_else(|| PostgresError::NotInstalled {
                major,
                installed: installed
                    .iter()
                    .map(|i| i.major.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(majors: &[u32]) -> Vec<Installation> {
        let installation = |major: &u32| Installation {
            major: *major,
            bin: PathBuf::from(format!("{DEBIAN}/{major}/bin")),
        };
        majors.iter().map(installation).collect()
    }

    #[test]
    fn the_data_decides_over_the_newest() {
        let both = of(&[17, 15]);
        assert_eq!(choose(&both, None, None).unwrap().major, 17);
        assert_eq!(choose(&both, Some(15), None).unwrap().major, 15);
        assert_eq!(choose(&both, None, Some(15)).unwrap().major, 15);
    }

    #[test]
    fn each_refusal_names_what_to_do() {
        let text = |result: Result<Installation, PostgresError>| result.unwrap_err().to_string();
        let other = text(choose(&of(&[17, 15]), Some(17), Some(15)));
        assert!(other.contains("postgres = 15"), "{other}");
        let missing = text(choose(&of(&[17]), None, Some(15)));
        assert!(missing.contains("apt-get install postgresql-15"), "{missing}");
        assert!(missing.contains("17"), "{missing}");
        let none = text(choose(&[], None, None));
        assert!(none.contains("apt-get install postgresql"), "{none}");
    }

    #[test]
    fn versions_are_read_from_what_the_server_prints() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_version("no"), None);
    }
}
