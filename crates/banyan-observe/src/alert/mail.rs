//! One mail by SMTP (RFC 5321): within TLS from the first byte, or by STARTTLS (RFC 3207) where the server offers it.
//!
//! A password goes through TLS, or to this machine. Texts are base64, so no line of theirs can be a command. Limits: [`REPLY`];
//! who sends sets the limit of time.

use std::path::{Path, PathBuf};

use banyan_config::{Mail, MailServer};
use banyan_runtime::Clock;
use banyan_tls::client::{self, ClientError, Trust};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::outgoing::AUTHORITIES;

/// Of a server's answer; a longer one is none.
const REPLY: usize = 16 * 1024;
/// Of a line of base64 (RFC 2045, 6.8).
const WIDTH: usize = 76;

/// What is told.
#[derive(Debug, PartialEq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
    /// The same letter has the same one.
    pub(super) id: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    #[error("failed to reach the mail server: {0}")]
    Reach(std::io::Error),
    #[error("the mail server broke off: {0}")]
    Broken(#[from] std::io::Error),
    #[error("no TLS with the mail server: {0}")]
    Tls(#[from] ClientError),
    #[error("the mail server offers no TLS: the password is not sent")]
    NoTls,
    #[error("the mail server sent something before TLS began")]
    Early,
    #[error("the mail server answered {1} to {0}")]
    Refused(&'static str, String),
    #[error("the mail server does not speak SMTP")]
    NoSmtp,
    #[error("failed to read {}: {why}", path.display())]
    Password { path: PathBuf, why: std::io::Error },
}

pub(super) async fn send(mail: &Mail, letter: &Letter) -> Result<(), MailError> {
    let MailServer { host, port, tls } = &mail.server;
    let stream = TcpStream::connect((host.as_str(), *port)).await;
    let stream = stream.map_err(MailError::Reach)?;
    if *tls {
        let mut talk = Talk::new(secure(stream, host).await?);
        talk.reply("the connection", 220).await?;
        talk.hello().await?;
        return talk.pass(mail, letter).await;
    }
    let is_here = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
    let mut talk = Talk::new(stream);
    talk.reply("the connection", 220).await?;
    let offered = talk.hello().await?;
    if offered.iter().any(|name| name.eq_ignore_ascii_case("STARTTLS")) {
        talk.command("STARTTLS", "STARTTLS", 220).await?;
        if !talk.rest.is_empty() {
            return Err(MailError::Early);
        }
        let mut talk = Talk::new(secure(talk.stream, host).await?);
        talk.hello().await?;
        return talk.pass(mail, letter).await;
    }
    if mail.login.is_some() && !is_here {
        return Err(MailError::NoTls);
    }
    talk.pass(mail, letter).await
}

async fn secure(stream: TcpStream, host: &str) -> Result<client::Stream, ClientError> {
    client::connect(stream, host, Trust::Bundle(Path::new(AUTHORITIES)), &[]).await
}

/// One conversation.
struct Talk<S> {
    stream: S,
    /// What was read and not yet looked at.
    rest: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// The lines of the next reply, without their codes. `to`: what it answers.
    async fn reply(&mut self, to: &'static str, expected: u16) -> Result<Vec<String>, MailError> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let (code, text) = line.split_at_checked(3).ok_or(MailError::NoSmtp)?;
            let number: u16 = code.parse().map_err(|_| MailError::NoSmtp)?;
            let goes_on = text.starts_with('-');
            lines.push(text.get(1..).unwrap_or_default().trim().to_owned());
            if !goes_on {
                // 251: it forwards the mail to somebody.
                let fits = number == expected || (expected == 250 && number == 251);
                return if fits {
                    Ok(lines)
                } else {
                    Err(MailError::Refused(to, line))
                };
            }
        }
    }

    async fn line(&mut self) -> Result<String, MailError> {
        loop {
            if let Some(end) = newline(&self.rest) {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.rest.len() > REPLY {
                return Err(MailError::NoSmtp);
            }
            if self.stream.read_buf(&mut self.rest).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// `name`: what errors call it; a password is in no error.
    async fn command(
        &mut self,
        name: &'static str,
        line: &str,
        expected: u16,
    ) -> Result<Vec<String>, MailError> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply(name, expected).await
    }

    /// What the server offers.
    async fn hello(&mut self) -> Result<Vec<String>, MailError> {
        self.command("EHLO", "EHLO banyan", 250).await
    }

    async fn pass(&mut self, mail: &Mail, letter: &Letter) -> Result<(), MailError> {
        if let Some((user, file)) = &mail.login {
            let password = std::fs::read_to_string(file);
            let password = password.map_err(|why| MailError::Password {
                path: file.clone(),
                why,
            })?;
            let plain = BASE64_STANDARD.encode(format!("\0{user}\0{}", password.trim()));
            self.command("AUTH", &format!("AUTH PLAIN {plain}"), 235).await?;
        }
        self.command("MAIL", &format!("MAIL FROM:<{}>", mail.from), 250)
            .await?;
        for to in &mail.to {
            self.command("RCPT", &format!("RCPT TO:<{to}>"), 250).await?;
        }
        self.command("DATA", "DATA", 354).await?;
        let written = written(mail, letter, Clock.unix_ms());
        self.command("the mail", &format!("{written}\r\n."), 250).await?;
        // It has it: how the conversation ends is of no matter.
        let _bye = self.command("QUIT", "QUIT", 221).await;
        Ok(())
    }
}

fn newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Head and body (RFC 5322, RFC 2045).
fn written(mail: &Mail, letter: &Letter, now_ms: u64) -> String {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000);
    let date = date
        .ok()
        .and_then(|date| date.format(&Rfc2822).ok())
        .unwrap_or_default();
    let Mail { from, to, .. } = mail;
    let subject = encoded(&letter.subject);
    let id = letter
        .id
        .replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let body = BASE64_STANDARD.encode(&letter.text);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(WIDTH)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    [
        format!("Date: {date}"),
        format!("From: {from}"),
        format!("To: {}", to.join(", ")),
        format!("Subject: {subject}"),
        format!("Message-ID: <{id}.{from}>"),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: base64".to_owned(),
        String::new(),
        lines.join("\r\n"),
    ]
    .join("\r\n")
}

/// Words that every reader shows; an encoded word has 75 characters at most (RFC 2047, 2).
fn encoded(subject: &str) -> String {
    const LONGEST: usize = 42;
    let plain = subject.chars().all(|c| c.is_ascii_graphic() || c == ' ') && !subject.contains("=?");
    if plain {
        return subject.to_owned();
    }
    let mut words = vec![String::new()];
    for c in subject.chars() {
        let full = words
            .last()
            .is_some_and(|word| word.len() + c.len_utf8() > LONGEST);
        if full {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word)))
        .collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use banyan_testkit::upstream::{Upstream, Wire};
    use expect_test::expect;
    use tokio::sync::mpsc;

    use super::*;

    fn letter() -> Letter {
        Letter {
            subject: "shop: P0 no-primary fires".to_owned(),
            text: "P0 no-primary fires: the primary database does not answer\n.\nQUIT\n".to_owned(),
            id: "7.ops".to_owned(),
        }
    }

    fn mail(port: u16, login: Option<(String, PathBuf)>) -> Mail {
        let server = MailServer {
            host: "127.0.0.1".to_owned(),
            port,
            tls: false,
        };
        Mail {
            to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
            from: "banyan@example.com".to_owned(),
            server,
            login,
        }
    }

    /// Answers each line that begins so; what it heard is told.
    async fn server(
        replies: &'static [(&'static str, &'static str)],
    ) -> (Upstream, mpsc::UnboundedReceiver<String>) {
        let (tell, heard) = mpsc::unbounded_channel();
        let upstream = Upstream::start(move |mut wire: Wire| {
            let tell = tell.clone();
            async move {
                wire.send(b"220 mail ready\r\n").await;
                let mut in_mail = false;
                while let Some(line) = wire.line().await {
                    let _nobody = tell.send(line.clone());
                    let reply = match line.as_str() {
                        "." if in_mail => "250 taken",
                        _ if in_mail => continue,
                        _ => replies
                            .iter()
                            .find(|(begin, _)| line.starts_with(begin))
                            .map_or("250 ok", |(_, reply)| reply),
                    };
                    in_mail = line == "DATA";
                    wire.send(format!("{reply}\r\n").as_bytes()).await;
                }
            }
        })
        .await;
        (upstream, heard)
    }

    const USUAL: &[(&str, &str)] = &[
        ("EHLO", "250-mail\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"),
        ("AUTH", "235 welcome"),
        ("RCPT TO:<b", "251 forwarded"),
        ("DATA", "354 go on"),
        ("QUIT", "221 bye"),
    ];

    #[tokio::test]
    async fn a_mail_goes_to_everybody_and_its_text_is_no_command() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "secret\n").unwrap();
        let (server, mut heard) = server(USUAL).await;
        let mail = mail(server.address.port(), Some(("ops".to_owned(), password)));
        send(&mail, &letter()).await.unwrap();
        let mut lines = Vec::new();
        while let Ok(line) = heard.try_recv() {
            let dated = line.starts_with("Date: ");
            lines.push(if dated { "Date: …".to_owned() } else { line });
        }
        expect![[r#"
            EHLO banyan
            AUTH PLAIN AG9wcwBzZWNyZXQ=
            MAIL FROM:<banyan@example.com>
            RCPT TO:<a@example.com>
            RCPT TO:<b@example.com>
            DATA
            Date: …
            From: banyan@example.com
            To: a@example.com, b@example.com
            Subject: shop: P0 no-primary fires
            Message-ID: <7.ops.banyan@example.com>
            Auto-Submitted: auto-generated
            MIME-Version: 1.0
            Content-Type: text/plain; charset=utf-8
            Content-Transfer-Encoding: base64

            UDAgbm8tcHJpbWFyeSBmaXJlczogdGhlIHByaW1hcnkgZGF0YWJhc2UgZG9lcyBub3QgYW5zd2Vy
            Ci4KUVVJVAo=
            .
            QUIT"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_said_in_its_words() {
        let (server, _heard) = server(&[("RCPT", "550 no such user"), ("DATA", "354 go on")]).await;
        let refused = send(&mail(server.address.port(), None), &letter()).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the mail server answered 550 no such user to RCPT"
        );
    }

    #[tokio::test]
    async fn what_comes_before_tls_begins_is_not_taken_for_what_is_within() {
        let replies = &[
            ("EHLO", "250-mail\r\n250 STARTTLS"),
            ("STARTTLS", "220 go\r\n250 mail, as if within"),
        ];
        let (server, _heard) = server(replies).await;
        let refused = send(&mail(server.address.port(), None), &letter()).await;
        assert!(matches!(refused, Err(MailError::Early)), "{refused:?}");
    }

    #[test]
    fn a_subject_of_other_letters_is_encoded_in_short_words() {
        assert_eq!(encoded("shop: über"), "=?utf-8?B?c2hvcDogw7xiZXI=?=");
        let long = encoded(&"ä".repeat(60));
        assert!(long.lines().all(|word| word.len() <= 76), "{long}");
        assert!(!encoded("a\r\nBcc: b").contains("\nBcc"));
    }
}
