//! The startup parameter `options`: `-c name=value`, `--name=value`, with backslashes before spaces.
//!
//! Source: PostgreSQL's `pg_split_opts` and `process_postgres_switches`. Other switches are not for clients.

/// The settings in it; `Err`: the first word that is none.
pub fn settings(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut words = words(options).into_iter();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or_else(|| word.clone())?
        } else if let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return Err(word);
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| setting.clone())?;
        found.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(found)
}

fn words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            c if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// May this name be set by a client at its start? What decides who the session is may not.
pub fn may_be_set(name: &str) -> bool {
    let shape = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$'));
    let identity = ["role", "session_authorization", "is_superuser", "replication"];
    shape && !name.is_empty() && !identity.iter().any(|no| name.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_all_spellings() {
        let found = settings(r"-c search_path=a,b -cwork_mem=4MB --statement-timeout=5s -c app.x=two\ words");
        let expected = [
            ("search_path", "a,b"),
            ("work_mem", "4MB"),
            ("statement_timeout", "5s"),
            ("app.x", "two words"),
        ];
        assert_eq!(
            found.unwrap(),
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn what_is_no_setting_is_named() {
        assert_eq!(settings("-d 5"), Err("-d".to_owned()));
        assert_eq!(settings("-c novalue"), Err("novalue".to_owned()));
        assert_eq!(settings("-c"), Err("-c".to_owned()));
    }

    #[test]
    fn identity_is_not_set_at_the_start() {
        assert!(may_be_set("TimeZone") && may_be_set("my.tenant"));
        assert!(!may_be_set("ROLE") && !may_be_set("session_authorization") && !may_be_set("x'y"));
    }
}
