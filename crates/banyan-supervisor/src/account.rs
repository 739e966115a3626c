//! Unix users, read from /etc/passwd.
//!
//! Limit: users that exist only in LDAP or another name service are not seen; asking those needs libc's resolver,
//! which needs unsafe code here.

use std::fs;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

/// The user of this name on this machine.
pub fn find(name: &str) -> Option<Account> {
    accounts().into_iter().find(|account| account.name == name)
}

pub fn find_by_uid(uid: u32) -> Option<Account> {
    accounts().into_iter().find(|account| account.uid == uid)
}

fn accounts() -> Vec<Account> {
    parse(&fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// Lines that are no accounts are left out.
fn parse(text: &str) -> Vec<Account> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let _description = fields.next()?;
        Some(Account {
            name: name.to_owned(),
            uid,
            gid,
            home: PathBuf::from(fields.next()?),
        })
    };
    text.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_and_other_lines_left_out() {
        let text = "# comment\n+::::::\nroot:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\nbroken:x:1\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[1],
            Account {
                name: "postgres".to_owned(),
                uid: 101,
                gid: 104,
                home: PathBuf::from("/var/lib/postgresql"),
            }
        );
    }
}
