//! `[alerts]` written out.

use crate::alerts::{AlertReceiver, Alerts, Limit, Mail, RuleChange, TellBy};
use crate::units::format_duration;

use super::mask::MASK;
use super::{Writer, quoted};

pub(super) fn tables(out: &mut Writer, alerts: Option<&Alerts>) {
    out.table("alerts");
    let Some(alerts) = alerts else {
        return out.line("enabled", false);
    };
    out.text("every", &format_duration(alerts.every));
    out.text("clear", &format_duration(alerts.clear));
    out.line("slo", alerts.slo.of_one());
    if !alerts.critical.is_empty() {
        out.list("critical", alerts.critical.iter().map(|route| quoted(route)));
    }
    for (rule, change) in &alerts.rules {
        out.table(&format!("alerts.rule.{rule}"));
        self::change(out, change);
    }
    for (name, receiver) in &alerts.to {
        out.table(&format!("alerts.to.{name}"));
        self::receiver(out, receiver);
    }
}

fn change(out: &mut Writer, change: &RuleChange) {
    out.line("enabled", change.enabled);
    match change.limit {
        Some(Limit::Share(share)) => out.line("limit", share.of_one()),
        Some(Limit::Time(time)) => out.text("limit", &format_duration(time)),
        Some(Limit::Factor(thousandths)) => out.line("limit", f64::from(thousandths) / 1000.0),
        None => {}
    }
    if let Some(hold) = change.hold {
        out.text("for", &format_duration(hold));
    }
    if let Some(over) = change.over {
        out.text("over", &format_duration(over));
    }
    if let Some(least) = change.least {
        out.line("least", least);
    }
}

fn receiver(out: &mut Writer, receiver: &AlertReceiver) {
    match &receiver.by {
        TellBy::Webhook(url) => out.text("webhook", url),
        TellBy::WebhookFile(path) => out.text("webhook_file", &path.to_string_lossy()),
        TellBy::Alertmanager(url) => out.text("alertmanager", url),
        TellBy::Mail(mail) => self::mail(out, mail),
    }
    out.list("severity", receiver.severity.iter().map(|name| quoted(name)));
    if let Some(repeat) = receiver.repeat {
        out.text("repeat", &format_duration(repeat));
    }
}

fn mail(out: &mut Writer, mail: &Mail) {
    let Mail {
        to,
        from,
        server,
        login,
    } = mail;
    out.list("mail", to.iter().map(|address| quoted(address)));
    out.text("smtp", &server.url(login.as_ref().map(|(user, _)| user.as_str())));
    out.text("from", from);
    if let Some((_, file)) = login {
        out.text("password_file", &file.to_string_lossy());
    }
}

/// Who knows the path of a webhook can call it.
pub(super) fn mask(alerts: &mut Alerts) {
    for receiver in alerts.to.values_mut() {
        if let TellBy::Webhook(url) | TellBy::Alertmanager(url) = &mut receiver.by
            && let Some((scheme, rest)) = url.split_once("://")
            && let Some((login, _)) = rest.split_once('/')
        {
            let host = login.rsplit_once('@').map_or(login, |(_, host)| host);
            *url = format!("{scheme}://{host}/{MASK}");
        }
    }
}
