use http::Request;

use super::*;

fn waf(except: &[&str]) -> Waf {
    Waf::new(&banyan_config::Waf {
        mode: WafMode::Block,
        except: except.iter().map(|id| (*id).to_owned()).collect(),
    })
}

fn head(target: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    waf(&[]).of_head(&parts).map(|rule| RULES[rule].id)
}

fn value(text: &str) -> Option<&'static str> {
    waf(&[])
        .of_pair(&format!("q={text}"), true)
        .map(|rule| RULES[rule].id)
}

#[test]
fn every_pattern_compiles_and_every_id_is_documented() {
    for part in [Part::Path, Part::Value, Part::Query, Part::Agent, Part::Header] {
        assert!(!Set::of(part).rules.is_empty());
    }
    let page = include_str!("../../../../../docs/waf.md");
    for rule in RULES.iter() {
        assert!(
            page.contains(&format!("| {} |", rule.id)),
            "{} is not in docs/waf.md",
            rule.id
        );
        assert!(rule.message.contains(rule.id));
        assert!(
            banyan_config::WAF_RULES.contains(&rule.id),
            "{} cannot be excepted",
            rule.id
        );
    }
}

#[test]
fn attacks_meet_their_rule() {
    for (text, id) in [
        ("../../../../etc/shells", "W101"),
        ("%2e%2e%2f%2e%2e%2fboot", "W101"),
        ("%252e%252e%252f%252e%252e%252fboot", "W101"),
        ("..\\..\\x", "W101"),
        ("/etc/passwd", "W102"),
        ("C:\\Windows\\system32", "W102"),
        ("a%00.jpg", "W103"),
        ("1+UNION+ALL+SELECT+null,version()", "W201"),
        ("1/**/union/*x*/select/**/1", "W201"),
        ("-1'+union(select+1)", "W201"),
        ("'+or+'1'='1", "W202"),
        ("admin'+or+1=1--", "W202"),
        ("\")+OR+(\"a\"=\"a", "W202"),
        ("1;+drop+table+users", "W203"),
        ("x';+DELETE+FROM+users--", "W203"),
        ("1'+and+sleep(5)", "W204"),
        ("(select+pg_sleep(10))", "W204"),
        ("1'+waitfor+delay+'0:0:5'", "W204"),
        ("<script>alert(1)</script>", "W301"),
        ("%3Cscript%20src=//x%3E", "W301"),
        ("<img+src=x+onerror=alert(1)>", "W301"),
        ("<svg/onload=alert(1)>", "W301"),
        ("javascript:alert(1)", "W301"),
        ("x%0d%0aSet-Cookie:%20a=b", "W401"),
        (";cat+/tmp/x", "W402"),
        ("|+wget+http://x/y", "W402"),
        ("$(curl+x)", "W402"),
        ("${jndi:ldap://x/a}", "W403"),
        ("${${lower:j}ndi:ldap://x}", "W403"),
        ("<?php+system($x)", "W404"),
        ("php://input", "W404"),
    ] {
        assert_eq!(value(text), Some(id), "{text}");
    }
    for (target, id) in [
        ("/a/%2e%2e/b", "W101"),
        ("/static/..%2f..%2fx", "W101"),
        ("/.git/config", "W110"),
        ("/shop/.env.local", "W110"),
        ("/wp-login.php", "W110"),
        ("/cgi-bin/test", "W110"),
        ("/a%00", "W103"),
    ] {
        assert_eq!(head(target, &[]), Some(id), "{target}");
    }
    let many = format!(
        "bytes={}",
        (0..30).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",")
    );
    for (name, text, id) in [
        ("user-agent", "sqlmap/1.7#stable (https://sqlmap.org)", "W111"),
        ("user-agent", "${jndi:ldap://x/a}", "W403"),
        ("referer", "https://x/${jndi:dns://y}", "W403"),
        ("content-type", "%{(#_='multipart/form-data')}", "W405"),
        ("range", &many, "W501"),
        ("proxy", "http://x", "W502"),
    ] {
        assert_eq!(head("/", &[(name, text)]), Some(id), "{text}");
    }
}

/// What the sample app's pages and the RealWorld suite send, and what people write.
#[test]
fn honest_requests_meet_no_rule() {
    for target in [
        "/",
        "/api/articles?limit=20&offset=0&author=johnjacob&favorited=jane",
        "/api/articles?tag=dragons%20%26%20knights",
        "/api/articles/how-to-train-your-dragon-0x1/comments/12",
        "/api/profiles/Jos%C3%A9%20O%27Brien",
        "/media/3f2a9c0d.jpg?w=640&q=70&fmt=webp",
        "/media/demo/face-12.svg",
        "/app.js?v=3",
        "/.well-known/acme-challenge/abc-DEF_123",
        "/.well-known/security.txt",
        "/search?q=select+a+union+in+the+club&sort=created_at%3Adesc",
        "/search?q=rock+%27n%27+roll+or+jazz",
        "/search?q=it%27s+1+or+2+cups%3B+drop+by+later",
        "/search?q=5%20%3E%203%20and%202%20%3C%204",
        "/search?q=tom+%26+jerry+%7C+friends",
        "/search?q=C%3A+a+language%2C+on+sleep",
        "/search?q=d%27or+et+d%27argent",
        "/search?q=100%25+off",
        "/files/a..b/c.tar.gz",
        "/docs/..hidden",
        "/callback?redirect=https%3A%2F%2Fapp.example%2Fhome%3Fa%3D1&state=eyJhIjoxfQ%3D%3D",
        "/callback?return=../home",
        "/environment?env=prod",
        "/git/repo/-/tree/main",
        "/math?f=f(x)%3D%24(x)",
        "/notes?text=price%3A+%245%3B+id+12",
    ] {
        assert_eq!(head(target, &[]), None, "{target}");
    }
    for (name, text) in [
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        ),
        ("user-agent", "curl/8.5.0"),
        ("user-agent", "hurl/7.1.0"),
        (
            "cookie",
            "session=eyJhbGciOi.J9.x; theme=dark; _ga=GA1.2.3.4; j={\"a\":1}",
        ),
        (
            "content-type",
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
        ),
        ("referer", "https://photos.example/#/p/a-title?x=%7B1%7D"),
        ("range", "bytes=0-99,200-299"),
    ] {
        assert_eq!(head("/", &[(name, text)]), None, "{text}");
    }
    for text in [
        "Dear+all,%0D%0A%0D%0ALocation%3A+room+5%0D%0AContent%3A+the+plan",
        "I+said+%22yes%22+or+%22no%22",
        "use+a+%3Cb%3Ebold%3C%2Fb%3E+word+and+%3Ci%3Eon+time%3C%2Fi%3E",
        "select+your+seat%3B+update+your+details",
        "O%27Reilly+and+Sons",
        "a+password+with+%27quotes%27+%26+%23hash",
        "%7B%22a%22%3A+%22b%22%7D",
    ] {
        let met = waf(&[]).of_pair(&format!("text={text}"), false);
        assert_eq!(met.map(|rule| RULES[rule].id), None, "{text}");
    }
}

#[test]
fn an_exception_takes_its_rule_out_and_no_other() {
    let (parts, ()) = Request::get("/.git/config?q=/etc/passwd")
        .body(())
        .unwrap()
        .into_parts();
    let met = |except: &[&str]| waf(except).of_head(&parts).map(|rule| RULES[rule].id);
    assert_eq!(met(&[]), Some("W110"));
    assert_eq!(met(&["W110"]), Some("W102"));
    assert_eq!(met(&["W110", "W102"]), None);
}

#[test]
fn comments_are_one_space_and_what_only_opens_one_stays() {
    for (text, expected) in [
        ("a/**/b", "a b"),
        ("a/* x *//* y */b", "a b"),
        ("a /*b", "a /*b"),
        ("/* a */ /* b", " /* b"),
        ("/*!50000 union */", "/*!50000 union */"),
        ("/*/", "/*/"),
        ("*/ /*", "*/ /*"),
    ] {
        assert_eq!(plain(text, false, false), expected, "{text}");
    }
    let open = "/* ".repeat(MOST / 3);
    assert_eq!(plain(&open, false, false), open);
    let evil = format!("{open}+union+select+1");
    assert_eq!(value(&evil), Some("W201"));
    assert_eq!(value("\u{e9}t\u{e9}'+or+'\u{e9}'+union+select+1"), Some("W201"));
}
