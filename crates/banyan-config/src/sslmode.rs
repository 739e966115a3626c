//! How a PostgreSQL server of the user's own is spoken to: `sslmode` and `sslrootcert` of its URL, as libpq reads them
//! (PostgreSQL documentation, 34.19).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::database_url::DatabaseAddress;

/// Where Debian's package ca-certificates keeps the authorities of the system.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// In clear.
    Disable,
    /// TLS where the server speaks it; nobody's certificate is looked at.
    #[default]
    Prefer,
    /// TLS, or nothing; nobody's certificate is looked at.
    Require,
    /// The certificate must be of an authority that is believed.
    VerifyCa,
    /// The same, and for the name that is connected to.
    VerifyFull,
}

/// How the server is spoken to, and whom it may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTrust {
    pub sslmode: SslMode,
    /// Certificates of the authorities, in PEM; there if they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sslrootcert: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("sslmode={0} is none of disable, prefer, require, verify-ca and verify-full")]
    Mode(String),
    #[error("sslmode={0} needs sslrootcert=/path/of/authorities.pem (or sslrootcert=system)")]
    NoAuthorities(&'static str),
    #[error("sslrootcert={0} is not an absolute path")]
    Relative(String),
    #[error(
        "sslrootcert=system needs sslmode=verify-full: any server on the internet has such a certificate"
    )]
    System,
    #[error("{0} is of a client's certificate, which the proxy has none of")]
    ClientCertificate(String),
}

impl DatabaseAddress {
    /// What of the URL's options is about TLS, and the rest of them.
    pub fn trust(&self) -> Result<(ServerTrust, Option<String>), TrustError> {
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        let options = self.options.as_deref().unwrap_or_default();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "sslmode" => mode = Some(parse(value)?),
                "sslrootcert" => roots = Some(value.replace("%2F", "/").replace("%2f", "/")),
                "sslcert" | "sslkey" => return Err(TrustError::ClientCertificate(name.to_owned())),
                name if name.starts_with("ssl") => {}
                _ => rest.push(option),
            }
        }
        let mut mode = mode.unwrap_or_default();
        // As libpq does, for those who wrote a file and forgot the rest.
        if mode == SslMode::Require && roots.is_some() {
            mode = SslMode::VerifyCa;
        }
        let rest = (!rest.is_empty()).then(|| rest.join("&"));
        let sslrootcert = authorities(mode, roots)?;
        Ok((
            ServerTrust {
                sslmode: mode,
                sslrootcert,
            },
            rest,
        ))
    }
}

fn parse(text: &str) -> Result<SslMode, TrustError> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        other => return Err(TrustError::Mode(other.to_owned())),
    })
}

fn authorities(mode: SslMode, roots: Option<String>) -> Result<Option<PathBuf>, TrustError> {
    let name = match mode {
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
        _ => return Ok(None),
    };
    match roots.as_deref() {
        None | Some("") => Err(TrustError::NoAuthorities(name)),
        Some("system") if mode == SslMode::VerifyFull => Ok(Some(SYSTEM.into())),
        Some("system") => Err(TrustError::System),
        Some(path) if Path::new(path).is_absolute() => Ok(Some(path.into())),
        Some(path) => Err(TrustError::Relative(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(options: &str) -> Result<(ServerTrust, Option<String>), String> {
        let address = DatabaseAddress::parse(&format!("postgres://u:p@h/d?{options}")).unwrap();
        address.trust().map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_as_libpq_does() {
        for (options, mode, roots, rest) in [
            ("", SslMode::Prefer, None, None),
            (
                "sslmode=disable&application_name=a",
                SslMode::Disable,
                None,
                Some("application_name=a"),
            ),
            ("sslmode=require", SslMode::Require, None, None),
            (
                "sslmode=require&sslrootcert=/ca.pem",
                SslMode::VerifyCa,
                Some("/ca.pem"),
                None,
            ),
            (
                "sslmode=verify-full&sslrootcert=%2Fca.pem",
                SslMode::VerifyFull,
                Some("/ca.pem"),
                None,
            ),
            (
                "sslmode=verify-full&sslrootcert=system",
                SslMode::VerifyFull,
                Some(SYSTEM),
                None,
            ),
        ] {
            let (found, other) = trust(options).unwrap();
            assert_eq!((found.sslmode, other.as_deref()), (mode, rest), "{options}");
            assert_eq!(found.sslrootcert, roots.map(PathBuf::from), "{options}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        for (options, told) in [
            ("sslmode=allow", "is none of"),
            ("sslmode=verify-full", "needs sslrootcert="),
            ("sslmode=verify-ca&sslrootcert=ca.pem", "not an absolute path"),
            (
                "sslmode=verify-ca&sslrootcert=system",
                "needs sslmode=verify-full",
            ),
            ("sslcert=/c.pem", "client's certificate"),
        ] {
            let error = trust(options).unwrap_err();
            assert!(error.contains(told), "{options}: {error}");
        }
    }
}
