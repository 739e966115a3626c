//! `postgres://user:password@host:port/name`, built and taken apart, the parts URL-encoded.

use std::fmt;

use crate::template::Placeholder;

/// Where a database is and how to log in. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub name: String,
    /// What follows `?` in a URL, such as `sslmode=require`.
    pub options: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    #[error("it does not begin with postgres://")]
    Scheme,
    #[error("it names no host")]
    Host,
    #[error("it names no user")]
    User,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("`%` is not followed by two hexadecimal digits of UTF-8 text")]
    Encoding,
}

impl DatabaseAddress {
    /// A missing port is 5432; a missing name is the user's, as in libpq.
    pub fn parse(url: &str) -> Result<Self, DatabaseUrlError> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or(DatabaseUrlError::Scheme)?;
        let (rest, options) = match rest.split_once('?') {
            Some((rest, options)) => (rest, Some(options.to_owned())),
            None => (rest, None),
        };
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, address) = authority.rsplit_once('@').ok_or(DatabaseUrlError::User)?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = split_port(address).ok_or(DatabaseUrlError::Port)?;
        let port = port.unwrap_or(5432);
        if host.is_empty() {
            return Err(DatabaseUrlError::Host);
        }
        let decode = |text| decode(text).ok_or(DatabaseUrlError::Encoding);
        let user = decode(user)?;
        if user.is_empty() {
            return Err(DatabaseUrlError::User);
        }
        let name = if name.is_empty() {
            user.clone()
        } else {
            decode(name)?
        };
        Ok(Self {
            host: decode(host)?,
            port,
            user,
            password: decode(password)?,
            name,
            options,
        })
    }

    pub fn url(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            encode(&self.host)
        };
        let options = self
            .options
            .as_ref()
            .map(|options| format!("?{options}"))
            .unwrap_or_default();
        let (user, password, name) = (encode(&self.user), encode(&self.password), encode(&self.name));
        let password = if password.is_empty() {
            password
        } else {
            format!(":{password}")
        };
        format!("postgres://{user}{password}@{host}:{}/{name}{options}", self.port)
    }

    /// The value of a `{{database.…}}` placeholder; `None` for all others.
    pub fn value(&self, placeholder: &Placeholder) -> Option<String> {
        Some(match placeholder {
            Placeholder::DatabaseHost => self.host.clone(),
            Placeholder::DatabasePort => self.port.to_string(),
            Placeholder::DatabaseUser => self.user.clone(),
            Placeholder::DatabasePassword => self.password.clone(),
            Placeholder::DatabaseName => self.name.clone(),
            Placeholder::DatabaseUrl | Placeholder::DatabaseDirectUrl => self.url(),
            _ => return None,
        })
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            user,
            password: _,
            name,
            options: _,
        } = self;
        write!(f, "postgres://{user}:***@{host}:{port}/{name}")
    }
}

/// `None`: the port is none. In it: no port is written.
pub(crate) fn split_port(address: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match address
        .strip_prefix('[')
        .and_then(|address| address.split_once(']'))
    {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok().filter(|&port| port != 0)?),
    };
    Some((host, port))
}

pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// `None`: `%` is not followed by two hexadecimal digits of UTF-8 text.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return None;
        };
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).ok()
}
