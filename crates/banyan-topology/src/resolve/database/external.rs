//! A PostgreSQL of the user's own: the proxy before it, and what may not change while the app runs.

use banyan_config::{ExternalDatabase, Reads};

use super::{Known, Ports, proxy};
use crate::model::{Database, Pgproxy};
use crate::resolve::ResolveError;

/// The user's own: only the proxy before it is ours.
pub(super) fn resolve(
    table: &ExternalDatabase,
    known: &Known<'_>,
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) -> (Option<Database>, Option<Pgproxy>) {
    if known.current.database.is_some() {
        errors.push(ResolveError::ToExternal);
    } else if known.current.is_stopped() && known.facts.data_version.is_some() {
        notes.push("the data of Banyan's own PostgreSQL stays where it is, unused".to_owned());
    }
    let mut ports = Ports::new(known.facts, known.current, [table.pgproxy.port]);
    let made = proxy(&table.pgproxy, Reads::Primary, known, &mut ports);
    let mut proxy = made.unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if let Some(proxy) = &mut proxy {
        proxy.external = known.facts.external.clone().map(Box::new);
        let runs = known.current.pgproxy.as_ref();
        if let (Some(old), Some(new)) = (runs.and_then(|runs| runs.external.as_ref()), &proxy.external)
            && (&old.host, old.port, &old.name) != (&new.host, new.port, &new.name)
        {
            notes.push(format!(
                "the app goes from {old} to {new} while it runs: what was written to the first must be in the second"
            ));
        }
    }
    (None, proxy)
}

/// Whether what runs has a database that is not ours.
pub(super) fn is_elsewhere(known: &Known<'_>) -> bool {
    let current = known.current;
    let release = current.release.and_then(|id| known.facts.releases.get(&id));
    let url = release.and_then(|release| release.database_url.as_ref());
    let own = url.is_some_and(|url| !url.placeholders().any(|placeholder| placeholder.is_database()));
    let proxied = current
        .pgproxy
        .as_ref()
        .is_some_and(|proxy| proxy.external.is_some());
    !current.is_stopped() && (own || proxied)
}
