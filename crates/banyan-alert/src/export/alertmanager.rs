//! A configuration of Alertmanager that mutes and tells as Banyan does.

use std::fmt::Write as _;
use std::time::Duration;

use banyan_config::units::format_duration;
use banyan_config::{AlertReceiver, Alerts, Mail, MailServer, TellBy};

use super::prometheus::quoted;

/// `alertmanager.yml`. A receiver whose address is a secret is there without it, with a remark.
pub fn alertmanager(alerts: &Alerts) -> String {
    let mut out = String::from(
        "# Configuration of Alertmanager, made by `banyan export alertmanager`: receivers of [alerts.to], and who mutes whom.\n\
         route:\n  receiver: nobody\n  group_by: [app, alertname]\n  group_wait: 10s\n  group_interval: 1m\n  routes:\n",
    );
    let told: Vec<(&String, &AlertReceiver)> = alerts.to.iter().collect();
    if told.is_empty() {
        out = out.replace("  routes:\n", "");
    }
    for (name, receiver) in &told {
        let (name, severities) = (quoted(name), receiver.severity.join("|"));
        let repeat = format_duration(receiver.repeat.unwrap_or(NEVER));
        write!(
            out,
            "    - receiver: {name}\n      continue: true\n      repeat_interval: {repeat}\n      \
             matchers: ['severity =~ \"{severities}\"']\n"
        )
        .expect("a String takes any text");
    }
    out.push_str(INHIBITION);
    out.push_str("receivers:\n  - name: nobody\n");
    for (name, receiver) in told {
        self::receiver(&mut out, name, receiver);
    }
    out
}

/// Longer than Alertmanager remembers by default (120 h) it cannot stay silent.
const NEVER: Duration = Duration::from_secs(120 * 3600);

/// P0 mutes all that is less urgent, P1 the P2 of its area. Labels that both lack would count as equal: all have `app`.
const INHIBITION: &str = "inhibit_rules:\n  \
    - source_matchers: [severity = P0]\n    target_matchers: ['severity =~ \"P1|P2\"']\n    equal: [app]\n  \
    - source_matchers: [severity = P1]\n    target_matchers: [severity = P2]\n    equal: [app, area]\n";

fn receiver(out: &mut String, name: &str, receiver: &AlertReceiver) {
    let head = format!("  - name: {}\n", quoted(name));
    let webhook =
        |line: &str| format!("{head}    webhook_configs:\n      - {line}\n        send_resolved: true\n");
    out.push_str(&match &receiver.by {
        TellBy::Webhook(url) => webhook(&format!("url: {}", quoted(url))),
        TellBy::WebhookFile(path) => {
            format!(
                "  # Its address is a secret, in {}: write it here.\n{head}",
                path.display()
            )
        }
        TellBy::Alertmanager(_) => format!("  # This Alertmanager itself: write here who is told.\n{head}"),
        TellBy::Mail(mail) => head + &self::mail(mail),
    });
}

/// Alertmanager speaks TLS from the first byte to port 465 alone; to others STARTTLS, which it then requires.
fn mail(mail: &Mail) -> String {
    let MailServer { host, port, .. } = &mail.server;
    let mut out = format!(
        "    email_configs:\n      - to: {}\n        from: {}\n        smarthost: {}\n",
        quoted(&mail.to.join(", ")),
        quoted(&mail.from),
        quoted(&format!("{host}:{port}")),
    );
    match &mail.login {
        Some((user, file)) => {
            let (user, file) = (quoted(user), quoted(&file.to_string_lossy()));
            write!(
                out,
                "        auth_username: {user}\n        auth_password_file: {file}\n"
            )
        }
        None => out.write_str("        require_tls: false\n"),
    }
    .expect("a String takes any text");
    out + "        send_resolved: true\n"
}
