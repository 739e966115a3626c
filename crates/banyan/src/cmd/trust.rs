//! `banyan trust`: where the installation's own CA is, how to recognise it, how to trust it.

use std::path::Path;

use banyan_config::Certificates;
use banyan_tls::local::Local;
use serde_json::json;

use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::error::advised;
use crate::render::paint::Paint;

pub(crate) fn run(context: &Context) -> anyhow::Result<Exit> {
    let config = loading::load(&context.place)?.config;
    let tls = config.edge.and_then(|edge| edge.settings.tls);
    if tls.is_none_or(|tls| tls.certificates != Certificates::SelfSigned) {
        return Err(advised(
            anyhow::anyhow!("there is nothing to trust: this installation makes no certificates of its own"),
            "write tls = \"self-signed\" in [edge], then `banyan apply`",
        ));
    }
    let local = Local::new(context.place.state()?.tls());
    let Some(fingerprint) = local.fingerprint() else {
        return Err(advised(
            anyhow::anyhow!("the CA of this installation was not made yet"),
            format!(
                "`{0} up`, or `{0} apply` if it runs, makes it",
                context.place.command()
            ),
        ));
    };
    if context.json {
        context.print_json(&json!({ "authority": local.authority(), "sha256": fingerprint }))?;
    } else {
        let text = explanation(
            config.name.as_str(),
            &local.authority(),
            &fingerprint,
            context.paint,
        );
        context.print(&text)?;
    }
    Ok(Exit::Done)
}

fn explanation(name: &str, authority: &Path, fingerprint: &str, paint: Paint) -> String {
    let path = authority.display().to_string();
    let (first, second) = fingerprint.split_at(fingerprint.len() / 2 + 1);
    let ways: [(&str, &[String]); 6] = [
        (
            "Debian, Ubuntu",
            &[
                format!("sudo cp {path} /usr/local/share/ca-certificates/banyan-{name}.crt"),
                "sudo update-ca-certificates".to_owned(),
            ],
        ),
        ("Fedora, RHEL", &[format!("sudo trust anchor {path}")]),
        (
            "macOS",
            &[format!(
                "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {path}"
            )],
        ),
        (
            "Windows",
            &[format!("certutil -addstore -f ROOT {path}    (as administrator)")],
        ),
        (
            "Firefox, and Chrome on Linux",
            &["Settings, Certificates, Authorities, Import: they have a list of their own".to_owned()],
        ),
        ("one command only", &[format!("curl --cacert {path} https://…")]),
    ];
    let mut out = format!("{}\n", paint.bold("The CA of this installation"));
    out.push_str(&format!(
        "  file     {path}\n  SHA-256  {first}\n           {second}\n\n"
    ));
    out.push_str("Whoever trusts it trusts every site that this machine makes a certificate for: copy the file by a way\n");
    out.push_str(
        "you trust, compare the fingerprint, and never copy ca.key. It is valid for ten years; the\n",
    );
    out.push_str("certificates made by it are renewed by themselves.\n");
    for (place, commands) in ways {
        out.push_str(&format!("\n{}\n", paint.bold(place)));
        for command in commands {
            out.push_str(&format!("  {command}\n"));
        }
    }
    out
}
