//! When somebody is told: rules, receivers, and what is no rule.

use expect_test::{Expect, expect};

use banyan_config::{AlertRule, Limit, TellBy, render_resolved};

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n";

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn what_is_written_is_read_and_written_out_as_the_same() {
    let text = format!(
        "{BASE}[[route]]\nname = \"pay\"\npath = \"/pay/*\"\nprocess = \"web\"\n\
         [alerts]\nevery = \"5s\"\nclear = \"10s\"\nslo = 0.99\ncritical = [\"pay\"]\n\
         [alerts.rule.errors-high]\nlimit = 0.1\nfor = \"0s\"\nover = \"10s\"\nleast = 20\n\
         [alerts.rule.latency-high]\nlimit = \"750ms\"\n[alerts.rule.budget-fast]\nlimit = 10.5\n\
         [alerts.rule.memory-high]\nenabled = false\n\
         [alerts.to.oncall]\nwebhook = \"http://127.0.0.1:9/x?y\"\nseverity = [\"P0\"]\nrepeat = \"1h\"\n\
         [alerts.to.chat]\nwebhook_file = \"chat.url\"\n[alerts.to.am]\nalertmanager = \"http://am:9093\"\n\
         --- chat.url\nhttps://chat.example/1\n"
    );
    let config = load(&text).unwrap().config;
    let alerts = config.alerts.as_ref().expect("rules are judged");
    let limit = |rule| alerts.rules[&rule].limit;
    assert_eq!(limit(AlertRule::BudgetFast), Some(Limit::Factor(10_500)));
    assert!(matches!(limit(AlertRule::ErrorsHigh), Some(Limit::Share(_))));
    assert!(matches!(alerts.to["chat"].by, TellBy::WebhookFile(_)));
    let resolved = render_resolved(&config, false);
    let again = load(&format!("{resolved}--- chat.url\nhttps://chat.example/1\n"))
        .unwrap()
        .config;
    assert_eq!(again, config, "{resolved}");
    let masked = render_resolved(&config, true);
    assert!(
        masked.contains("http://127.0.0.1:9/***") && !masked.contains("x?y"),
        "{masked}"
    );
}

#[test]
fn without_a_table_rules_are_judged_and_can_be_turned_off() {
    assert!(load(BASE).unwrap().config.alerts.is_some());
    let off = load(&format!("{BASE}[alerts]\nenabled = false\n"))
        .unwrap()
        .config;
    assert!(off.alerts.is_none());
    assert_eq!(load(&render_resolved(&off, false)).unwrap().config, off);
}

#[test]
fn rules_that_do_not_exist_and_limits_of_another_unit_are_mistakes() {
    check(
        "[alerts.rule.error-high]\nlimit = 0.1\n[alerts.rule.latency-high]\nlimit = 2\n\
         [alerts.rule.errors-high]\nlimit = 5\n[alerts.rule.no-primary]\nlimit = 1\nover = \"1m\"\n",
        expect![[r#"
            error: there is no rule `error-high`
             --> banyan.toml:5:14
              |
            5 | [alerts.rule.error-high]
              |              ^^^^^^^^^^
              = did you mean `errors-high`?

            error: `limit` of `latency-high` is a time, for example limit = "2s"
             --> banyan.toml:8:9
              |
            8 | limit = 2
              |         ^
              = docs/alerts.md lists rules with their limits

            error: `limit` of `errors-high` is a share from 0 to 1, for example limit = 0.05
              --> banyan.toml:10:9
               |
            10 | limit = 5
               |         ^
               = docs/alerts.md lists rules with their limits

            error: `limit` has no effect: rule `no-primary` has none
              --> banyan.toml:12:1
               |
            12 | limit = 1
               | ^^^^^
               = remove this line

            error: `over` has no effect: rule `no-primary` has none
              --> banyan.toml:13:1
               |
            13 | over = "1m"
               | ^^^^
               = remove this line

            5 errors; nothing was changed"#]],
    );
}

#[test]
fn a_receiver_is_told_in_one_way_at_an_address() {
    check(
        "[alerts.to.a]\nseverity = [\"P3\"]\n[alerts.to.b]\nwebhook = \"http://x\"\nalertmanager = \"http://y\"\n\
         [alerts.to.c]\nwebhook = \"hooks.example\"\n[alerts.to.d]\nwebhook_file = \"none.url\"\n\
         [alerts.to.e]\nwebhook_file = \"open.url\"\n--- open.url 644\nnothing\n",
        expect![[r#"
            error: nothing says how it is told
             --> banyan.toml:5:12
              |
            5 | [alerts.to.a]
              |            ^
              = write one of webhook = "https://…", webhook_file = "FILE", alertmanager = "http://…", mail = ["NAME@DOMAIN"]

            error: `severity` cannot be `P3`
             --> banyan.toml:6:13
              |
            6 | severity = ["P3"]
              |             ^^^^
              = did you mean "P0"?

            error: one receiver is told in one way
             --> banyan.toml:7:12
              |
            7 | [alerts.to.b]
              |            ^
              = write one of webhook = "https://…", webhook_file = "FILE", alertmanager = "http://…", mail = ["NAME@DOMAIN"]

            error: `webhook` is not an address
              --> banyan.toml:11:11
               = write http://HOST/PATH or https://HOST/PATH

            error: cannot read none.url: there is no such file
              --> banyan.toml:13:16
               |
            13 | webhook_file = "none.url"
               |                ^^^^^^^^^^
               = write the URL into this file, and chmod 600 it

            error: open.url can be read by others
              --> banyan.toml:15:16
               |
            15 | webhook_file = "open.url"
               |                ^^^^^^^^^^
               = chmod 600 open.url

            error: open.url does not hold an address
              --> banyan.toml:15:16
               |
            15 | webhook_file = "open.url"
               |                ^^^^^^^^^^
               = its only line is to be http://HOST/PATH or https://HOST/PATH

            7 errors; nothing was changed"#]],
    );
}

#[test]
fn a_critical_route_must_exist_and_an_objective_must_leave_a_budget() {
    check(
        "[[route]]\nname = \"pay\"\npath = \"/pay/*\"\nprocess = \"web\"\n[alerts]\ncritical = [\"pays\"]\nslo = 1.0\n",
        expect![[r#"
            error: there is no route `pays`
              --> banyan.toml:10:13
               |
            10 | critical = ["pays"]
               |             ^^^^^^
               = did you mean "pay"?

            error: an objective of 1 leaves no budget: one error would be an alert for ever
              --> banyan.toml:11:1
               |
            11 | slo = 1.0
               | ^^^
               = write less than 1, for example slo = 0.999

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn receivers_without_a_judge_are_probably_not_meant() {
    check(
        "[observe]\nenabled = false\n[alerts.to.a]\nwebhook = \"http://a/\"\n",
        expect![[r#"
            warning: nobody is told: [observe], which judges the rules, is off
             --> banyan.toml:7:9
              |
            7 | [alerts.to.a]
              |         ^^
              = remove enabled = false from [observe]

            no error"#]],
    );
}

#[test]
fn mail_is_read_and_written_out_as_the_same() {
    let text = format!(
        "{BASE}[alerts.to.ops]\nmail = [\"ops@example.com\", \"more@example.com\"]\nsmtp = \"smtps://me@mail.example\"\n\
         from = \"banyan@example.com\"\npassword_file = \"smtp.password\"\n[alerts.to.here]\nmail = [\"root@localhost\"]\n\
         smtp = \"smtp://localhost:25\"\nfrom = \"banyan@localhost\"\n"
    );
    let secret = "--- smtp.password\nsecret\n";
    let config = load(&format!("{text}{secret}")).unwrap().config;
    let to = |name: &str| match &config.alerts.as_ref().unwrap().to[name].by {
        TellBy::Mail(mail) => mail.clone(),
        other => panic!("{other:?}"),
    };
    let ops = to("ops");
    assert_eq!(
        (ops.server.host.as_str(), ops.server.port, ops.server.tls),
        ("mail.example", 465, true)
    );
    assert_eq!(ops.login, Some(("me".to_owned(), "smtp.password".into())));
    assert_eq!((to("here").server.tls, to("here").login), (false, None));
    let resolved = render_resolved(&config, false);
    assert!(!resolved.contains("secret"), "{resolved}");
    assert_eq!(
        load(&format!("{resolved}{secret}")).unwrap().config,
        config,
        "{resolved}"
    );
}

#[test]
fn mail_without_a_server_with_half_a_login_or_to_nobody_is_a_mistake() {
    check(
        "[alerts.to.a]\nmail = [\"ops\"]\n\
         [alerts.to.b]\nmail = [\"ops@example.com\"]\nsmtp = \"smtps://me@mail.example\"\nfrom = \"a@b\"\n\
         [alerts.to.c]\nmail = []\nsmtp = \"mail.example\"\nfrom = \"a@b\"\n\
         [alerts.to.d]\nwebhook = \"http://x\"\nsmtp = \"smtp://mail.example\"\n",
        expect![[r#"
            error: `smtp` is missing: mail needs it
             --> banyan.toml:5:12
              |
            5 | [alerts.to.a]
              |            ^
              = write smtp = "smtps://USER@HOST" or "smtp://HOST:PORT"

            error: `from` is missing: mail needs it
             --> banyan.toml:5:12
              |
            5 | [alerts.to.a]
              |            ^
              = write from = "banyan@example.com"

            error: `ops` is no address of mail
             --> banyan.toml:6:9
              |
            6 | mail = ["ops"]
              |         ^^^^^
              = write NAME@DOMAIN

            error: `smtp` names a user, and nothing its password
             --> banyan.toml:7:12
              |
            7 | [alerts.to.b]
              |            ^
              = write password_file = "FILE", mode 0600, or no user in `smtp`

            error: `smtp` is no address of a mail server
              --> banyan.toml:13:8
               = write smtps://USER@HOST (port 465) or smtp://USER@HOST:PORT (587); the password goes into password_file

            error: `smtp` has no effect: it is of mail
              --> banyan.toml:17:1
               |
            17 | smtp = "smtp://mail.example"
               | ^^^^
               = remove this line

            6 errors; nothing was changed"#]],
    );
}
