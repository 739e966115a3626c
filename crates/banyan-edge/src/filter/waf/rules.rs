//! The rules: few, each for a shape that no honest request of a usual app has. Patterns see text in lower case, decoded, with
//! one space for any run of space or SQL comment.

use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Decoded, also what is encoded twice.
    Path,
    /// Of the query, and of a form's body.
    Value,
    /// Of the query only: text areas have lines.
    Query,
    Agent,
    /// Values of headers that apps like to log or parse.
    Header,
    /// Judged by code.
    Protocol,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub id: &'static str,
    /// What a client is told.
    pub message: &'static str,
    part: Part,
    pattern: &'static str,
}

const fn rule(id: &'static str, message: &'static str, part: Part, pattern: &'static str) -> Rule {
    Rule {
        id,
        message,
        part,
        pattern,
    }
}

/// Of [`RULES`].
pub(crate) const COUNT: usize = 22;

/// Several rules may have one id: the same thing in another part.
pub(crate) static RULES: [Rule; COUNT] = [
    rule(
        "W101",
        "refused by rule W101 (path traversal)",
        Part::Path,
        r"(^|[/\\])\.\.([/\\]|$)",
    ),
    rule(
        "W101",
        "refused by rule W101 (path traversal)",
        Part::Value,
        r"(\.\.[/\\]){2}",
    ),
    rule(
        "W102",
        "refused by rule W102 (files of the system)",
        Part::Path,
        SYSTEM,
    ),
    rule(
        "W102",
        "refused by rule W102 (files of the system)",
        Part::Value,
        SYSTEM,
    ),
    rule("W103", "refused by rule W103 (a zero byte)", Part::Path, r"\x00"),
    rule("W103", "refused by rule W103 (a zero byte)", Part::Value, r"\x00"),
    rule(
        "W110",
        "refused by rule W110 (a path that scanners try)",
        Part::Path,
        SCANNED,
    ),
    rule(
        "W111",
        "refused by rule W111 (a scanner's name)",
        Part::Agent,
        SCANNERS,
    ),
    rule(
        "W201",
        "refused by rule W201 (SQL: union)",
        Part::Value,
        r"\bunion( all| distinct)?[ (]+select\b",
    ),
    rule(
        "W202",
        "refused by rule W202 (SQL: always true)",
        Part::Value,
        r#"['"] ?\)* ?(or|and|\|\||&&) ?\(*['"]?(\w+)['"]? ?(=|<>|like|<|>) ?['"]?\w*(['"]|--|#|$)"#,
    ),
    rule(
        "W203",
        "refused by rule W203 (SQL: another statement)",
        Part::Value,
        r#"['"0-9)] ?; ?(drop|truncate|alter|create) (table|database|user|schema|view|role)\b|['"0-9)] ?; ?(insert into|delete from|update \w+ set|exec|shutdown)\b"#,
    ),
    rule(
        "W204",
        "refused by rule W204 (SQL: functions of intruders)",
        Part::Value,
        r"\b(pg_sleep|benchmark|extractvalue|updatexml|xp_cmdshell|load_file) ?\(|\bwaitfor delay ?['\x22]|\binto (out|dump)file ?['\x22]|\bfrom information_schema\.|['\x22)0-9] ?(and|or|;)? ?\(?(select )?sleep ?\( ?\d",
    ),
    rule(
        "W301",
        "refused by rule W301 (script in a value)",
        Part::Value,
        r"<(script|iframe|object|embed|base)\b[^>]*>?|<[a-z]+[^>]*[ /\x22']on[a-z]{3,} ?=|^ ?(java|vb)script ?:|(href|src|action) ?= ?['\x22]? ?javascript:",
    ),
    rule(
        "W401",
        "refused by rule W401 (a header in a value)",
        Part::Query,
        r"[\r\n] ?(set-cookie|location|content-type|content-length|transfer-encoding) ?:|[\r\n]http/1\.",
    ),
    rule(
        "W402",
        "refused by rule W402 (a command of a shell)",
        Part::Value,
        r"[;|&`] ?(cat|ls|rm|chmod) [-/~.]|[;|&`] ?(wget|curl) (-\w+ )*(https?|ftp)://|[;|&`] ?(bash|sh|nc|ncat|python3?|perl) -[a-z]|\$\((cat|curl|wget|id|whoami)\b|[;|&`] ?(whoami|id) ?($|[;|&`])",
    ),
    rule("W403", "refused by rule W403 (JNDI look-up)", Part::Value, JNDI),
    rule("W403", "refused by rule W403 (JNDI look-up)", Part::Header, JNDI),
    rule("W403", "refused by rule W403 (JNDI look-up)", Part::Agent, JNDI),
    rule(
        "W404",
        "refused by rule W404 (code of a page)",
        Part::Value,
        r"<\?(php|=)|\b(php|phar|expect)://(input|filter|stdin)?|\b(allow_url_include|auto_prepend_file) ?=",
    ),
    rule(
        "W405",
        "refused by rule W405 (an expression in a header)",
        Part::Header,
        r"[%$]\{ ?[(#]",
    ),
    rule(
        "W501",
        "refused by rule W501 (too many ranges)",
        Part::Protocol,
        "",
    ),
    rule(
        "W502",
        "refused by rule W502 (a header that apps take for a setting)",
        Part::Protocol,
        "",
    ),
];

const SYSTEM: &str = r"/etc/(passwd|shadow|group|hosts|sudoers)\b|/proc/(self|version|cmdline)\b|\b[a-z]:[/\\]windows[/\\]|\bwin\.ini$|\bboot\.ini$";
const SCANNED: &str = r"/\.(git|svn|hg|aws|ssh)(/|$)|/\.(env|htaccess|htpasswd|ds_store)([./]|$)|/(wp-login|xmlrpc|wp-config)\.php|/wp-(admin|includes)(/|$)|/php(myadmin|unit)(/|$)|/vendor/phpunit|/cgi-bin/|/server-status$|/hnap1|/boaform/|/_ignition/|/actuator/(env|heapdump|gateway)|/solr/admin|/manager/html|/owa/auth";
const SCANNERS: &str = r"\b(sqlmap|nikto|nessus|openvas|acunetix|netsparker|dirbuster|gobuster|feroxbuster|wpscan|nuclei|masscan|zgrab|w3af|havij|fimap|arachni|jaeles|whatweb)\b|fuzz faster u fool";
const JNDI: &str = r"\$\{ ?(jndi|(lower|upper|env|sys|::-)[^}]{0,20}(j|\}))[^}]{0,20}:";

/// By part: the rules of it, and their patterns as one.
pub(super) struct Set {
    pub rules: Vec<usize>,
    pub patterns: RegexSet,
}

impl Set {
    pub(super) fn of(part: Part) -> &'static Self {
        static SETS: LazyLock<[Set; 5]> = LazyLock::new(|| {
            [Part::Path, Part::Value, Part::Query, Part::Agent, Part::Header].map(Set::compile)
        });
        &SETS[part as usize]
    }

    fn compile(part: Part) -> Self {
        let rules: Vec<usize> = (0..RULES.len()).filter(|n| RULES[*n].part == part).collect();
        // With Unicode's `\b`, text beyond ASCII would go the slow way.
        let patterns = RegexSetBuilder::new(rules.iter().map(|n| RULES[*n].pattern))
            .unicode(false)
            .build();
        Self {
            rules,
            patterns: patterns.expect("a test compiles every pattern"),
        }
    }
}
