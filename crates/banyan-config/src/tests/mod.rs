//! The key table, the manual and the schema say the same; words of commands are those of a shell.

use expect_test::expect_file;
use proptest::prelude::*;

use crate::check;
use crate::command::{join, split};
use crate::keys::{Key, ROOT, tables};
use crate::read::default_value;
use crate::report::Report;
use crate::tree::{self, Entry, Value};

fn parse(text: &str) -> (Vec<Entry>, Report) {
    let report = Report::default();
    let file = report.add_file(std::path::Path::new("default.toml"), text, false);
    let entries = tree::parse(text, file, &report);
    (entries, report)
}

/// default.toml with every key that is commented out (`#key = …`) set; prose begins with `# `.
fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_alphabetic()) || key.starts_with('[') => {
            key.to_owned()
        }
        _ => line.to_owned(),
    };
    crate::MANUAL.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn assert_sound(text: &str) {
    let files = |path: &std::path::Path| {
        let text = match path.to_string_lossy().as_ref() {
            "./Procfile" => "web: ./web\nworker: ./worker\napi: ./api\nnext: ./next\n",
            "secrets.env" => "SECRET_KEY=x\nDATABASE_PASSWORD='p@ss/word'\n",
            "./settings.ini.in" => "db = {{database.url}}\n",
            "partners.keys" | "links.keys" => "",
            "people.htpasswd" => "",
            "chat.url" => "https://chat.example/hook/1",
            "smtp.password" => "secret",
            "media.secret" => "0123456789abcdef0123456789abcdef",
            "media-ca.pem" => "-----BEGIN CERTIFICATE-----",
            "purge.token" => "0123456789abcdef0123456789abcdef",
            "api/shop.pb" => {
                let set = include_bytes!("../../../banyan-transcode/sample/shop.pb");
                return Ok(crate::FileText::new(set.as_slice(), 0o644));
            }
            "public/404.html" | "dist/index.html" => "",
            "public" | "dist" => return Err(crate::FileError::Folder),
            other => panic!("unexpected file {other}"),
        };
        Ok(crate::FileText::new(text, 0o600))
    };
    let main = crate::Source::new("default.toml", text);
    if let Err(errors) = crate::load(&crate::Sources {
        main,
        overlay: None,
        files: &files,
        certificates: &|_, _| Ok(Vec::new()),
    }) {
        panic!("{errors}");
    }
}

#[test]
fn the_manual_is_a_sound_configuration() {
    let without_hosts = crate::MANUAL
        .replace("[process.web.ready]\n", "")
        .replace("[process.web.live]\n", "")
        .replace("[auth.staff]\n", "")
        .replace("[auth.partners]\n", "")
        .replace("[auth.links]\n", "")
        .replace("[auth.people]\n", "");
    assert_sound(&without_hosts);
}

#[test]
fn every_example_of_the_manual_is_sound() {
    let all = uncommented();
    // Of servers that somebody else runs; an origin always is one.
    let theirs = |line: &&str| line.starts_with("url = ") && !line.starts_with("url = \"https://");
    let managed: Vec<&str> = all.lines().filter(|line| !theirs(line)).collect();
    assert_sound(&managed.join("\n"));
    let url = all.lines().find(theirs).expect("the manual shows url");
    assert_sound(&format!(
        "version = 1\nname = \"x\"\n[app]\nsecrets = \"secrets.env\"\n[app.env]\nA = \"{{{{secret.SECRET_KEY}}}}\"\n[database]\n{url}"
    ));
}

/// The entries of a table given by its path; those of all processes or hosts count as one.
fn entries<'a>(root: &'a [Entry], path: &str) -> Vec<&'a Entry> {
    let mut level: Vec<&Entry> = root.iter().collect();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let inside = level
            .into_iter()
            .filter(|entry| part == "NAME" || entry.name == part);
        level = inside
            .flat_map(|entry| match &entry.node.value {
                Value::Table(entries) => entries.iter().collect::<Vec<_>>(),
                Value::List(items) => items
                    .iter()
                    .flat_map(|item| {
                        if let Value::Table(entries) = &item.value {
                            entries.as_slice()
                        } else {
                            &[]
                        }
                    })
                    .collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    level
}

#[test]
fn the_manual_shows_every_key_with_its_default() {
    let (root, _) = parse(&uncommented());
    for (path, keys) in tables() {
        let written = entries(&root, &path);
        for Key { name, .. } in keys {
            let found = written.iter().find(|entry| entry.name == *name);
            let found = found.unwrap_or_else(|| panic!("default.toml does not show `{name}` of [{path}]"));
            let key = keys
                .iter()
                .find(|key| key.name == *name)
                .expect("it is in the table");
            // The example of [process.NAME] may set what has a default elsewhere.
            if let Some(default) = default_value(key) {
                let values: Vec<String> = written
                    .iter()
                    .filter(|e| e.name == *name)
                    .map(|e| format!("{:?}", plain(&e.node.value)))
                    .collect();
                assert!(
                    values.contains(&format!("{:?}", plain(&default))),
                    "default.toml says {values:?} for `{name}` of [{path}], the code {:?}",
                    plain(&default),
                );
            }
            let _ = found;
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::List(items) => items
            .iter()
            .map(|item| plain(&item.value))
            .collect::<Vec<_>>()
            .join(","),
        other => other.kind().to_owned(),
    }
}

#[test]
fn every_default_obeys_its_own_rule() {
    for (path, keys) in tables() {
        for key in keys.iter().filter(|key| key.default.is_some()) {
            let (mut entries, report) = parse(&format!("{} = {}", key.name, key.default.unwrap_or_default()));
            let keys: &'static [Key] = keys;
            check::table(&mut entries, keys, &path, None, &report);
            assert!(report.finish().is_ok(), "default of `{}` in [{path}]", key.name);
        }
    }
}

#[test]
fn every_key_can_be_told_from_every_alias() {
    for (path, keys) in tables() {
        for alias in keys.iter().flat_map(|key| key.alias) {
            assert!(
                !keys.iter().any(|key| key.name == *alias),
                "alias `{alias}` of [{path}] is a key"
            );
        }
    }
    assert!(ROOT.iter().any(|key| key.name == "version"));
}

/// After a change of a key: `UPDATE_EXPECT=1 cargo test -p banyan-config` writes the new schema.
#[test]
fn the_published_schema_is_that_of_the_key_table() {
    expect_file!["../../../../docs/reference/banyan.schema.json"].assert_eq(&crate::schema());
}

#[test]
fn what_a_shell_expands_later_is_kept_from_expansion() {
    let words = |text| split(text).expect("a sound command").words;
    assert_eq!(words("sh -c 'echo $PORT'"), ["sh", "-c", "echo $$PORT"]);
    assert_eq!(words(r#"a "$PORT" \$x $1 "#), ["a", "$PORT", "$$x", "$$1"]);
    assert_eq!(
        words("a --bind={{ host }}:{{port}} '{{data}}'"),
        ["a", "--bind={{ host }}:{{port}}", "{{data}}"]
    );
}

#[test]
fn variables_are_found_with_their_places() {
    let command = split("run $A 'no $B' \"x ${C}\"").expect("a sound command");
    assert_eq!(
        command.variables,
        [("A".to_owned(), 4..6), ("C".to_owned(), 18..22)]
    );
}

#[test]
fn a_program_named_like_a_builtin_or_an_assignment_stays_a_program_when_joined() {
    for (written, joined) in [
        (r"\. a", r#""." a"#),
        ("'cd' cd", r#""cd" cd"#),
        ("\"A=$B\" C=d", r#""A=$B" C=d"#),
    ] {
        let words = split(written).expect("quoted, it names a program").words;
        let again = join(words.iter().map(String::as_str));
        assert_eq!(again, joined);
        assert_eq!(split(&again).expect("what was joined").words, words);
    }
}

proptest! {
    #[test]
    fn words_are_those_of_a_shell(text in r#"[a-c \\'"=/-]{0,20}"#) {
        let text = format!("run {text}");
        let shell = shell_words::split(&text).ok();
        prop_assert_eq!(split(&text).ok().map(|command| command.words), shell);
    }

    #[test]
    fn joined_words_split_into_the_same_words(text in "\\PC{0,30}") {
        if let Ok(command) = split(&text) {
            let joined = join(command.words.iter().map(String::as_str));
            let again = split(&joined).map(|again| again.words);
            prop_assert_eq!(again.ok(), Some(command.words), "{}", joined);
        }
    }

    #[test]
    fn any_command_is_split_or_refused_in_place(text in "[ -~é\n\t]{0,40}") {
        if let Err(error) = split(&text) {
            prop_assert!(text.get(error.range).is_some());
        }
    }
}
