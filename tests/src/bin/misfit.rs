//! An app that misbehaves as told by its arguments; without any it is a good one that answers `misfit $VERSION`.
//!
//! `--exit CODE`, `--never-listen`, `--port-offset N`, `--status CODE`, `--ignore-term`, `--sleep-ms N`,
//! `--json` (an object instead), `--start-ms N`: listens so late, `--burn N`: works so much for each request (thousands
//! of rounds of `banyan_e2e::burn`),
//! `--mood PATH`: while there is such a file, its words `status CODE` or `sleep MS` count instead,
//! `--file PATH`: answers what the file says when the request comes, the second half a little later.

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Clone, Debug)]
struct Manners {
    exit: Option<u8>,
    never_listen: bool,
    port_offset: u16,
    status: u16,
    ignore_term: bool,
    sleep: Duration,
    start: Duration,
    burn: u16,
    json: bool,
    version: String,
    file: Option<String>,
    mood: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let manners = Manners::from_args(std::env::args().skip(1));
    let mut terminate = signal(SignalKind::terminate()).expect("a handler for SIGTERM");
    if let Some(code) = manners.exit {
        eprintln!("misfit: boom");
        return ExitCode::from(code);
    }
    tokio::select! {
        () = serve(&manners) => {}
        () = async {
            loop {
                terminate.recv().await;
                if !manners.ignore_term {
                    return;
                }
            }
        } => {}
    }
    ExitCode::SUCCESS
}

impl Manners {
    #[expect(clippy::disallowed_methods, reason = "an app reads its environment")]
    fn from_args(mut args: impl Iterator<Item = String>) -> Self {
        let mut manners = Self {
            exit: None,
            never_listen: false,
            port_offset: 0,
            status: 200,
            ignore_term: false,
            sleep: Duration::ZERO,
            start: Duration::ZERO,
            burn: 0,
            json: false,
            version: std::env::var("VERSION").unwrap_or_default(),
            file: None,
            mood: None,
        };
        while let Some(arg) = args.next() {
            if arg == "--file" {
                manners.file = args.next();
                continue;
            }
            if arg == "--mood" {
                manners.mood = args.next();
                continue;
            }
            let mut number = || {
                args.next()
                    .and_then(|text| text.parse::<u16>().ok())
                    .expect("a number")
            };
            match arg.as_str() {
                "--exit" => manners.exit = Some(u8::try_from(number()).expect("a code")),
                "--never-listen" => manners.never_listen = true,
                "--port-offset" => manners.port_offset = number(),
                "--status" => manners.status = number(),
                "--sleep-ms" => manners.sleep = Duration::from_millis(number().into()),
                "--start-ms" => manners.start = Duration::from_millis(number().into()),
                "--burn" => manners.burn = number(),
                "--ignore-term" => manners.ignore_term = true,
                "--json" => manners.json = true,
                other => panic!("unknown argument {other}"),
            }
        }
        manners
    }

    fn said(&self) -> String {
        let (kind, body) = if self.json {
            ("application/json", format!("{{\"misfit\":\"{}\"}}", self.version))
        } else {
            ("text/plain", format!("misfit {}\n", self.version))
        };
        let (status, length) = (self.status, body.len());
        format!("HTTP/1.1 {status} Misfit\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    /// As it is now.
    fn in_mood(&self) -> Self {
        let mut manners = self.clone();
        let text = self
            .mood
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        let words: Vec<&str> = text.iter().flat_map(|text| text.split_whitespace()).collect();
        match words.as_slice() {
            ["status", code] => manners.status = code.parse().expect("a code"),
            ["sleep", ms] => manners.sleep = Duration::from_millis(ms.parse().expect("a number")),
            _ => {}
        }
        manners
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an app is not part of Banyan's runtime, and reads its environment"
)]
async fn serve(manners: &Manners) {
    if manners.never_listen {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(manners.start).await;
    let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port + manners.port_offset))
        .await
        .expect("a free port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(answer(stream, manners.clone()));
    }
}

/// Requests without bodies, one after another.
async fn answer(mut stream: TcpStream, manners: Manners) -> std::io::Result<()> {
    let mut pending = Vec::new();
    loop {
        while let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            pending.drain(..end + 4);
            let manners = manners.in_mood();
            tokio::time::sleep(manners.sleep).await;
            banyan_e2e::burn::rounds(u64::from(manners.burn) * 1000);
            match &manners.file {
                Some(file) => say(file, &mut stream).await?,
                None => stream.write_all(manners.said().as_bytes()).await?,
            }
        }
        if stream.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
    }
}

/// What the file says now, in two halves with a pause between.
async fn say(file: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let text = std::fs::read(file)?;
    let head = format!("HTTP/1.1 200 Misfit\r\ncontent-length: {}\r\n\r\n", text.len());
    let (first, second) = text.split_at(text.len() / 2);
    stream.write_all(&[head.as_bytes(), first].concat()).await?;
    tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    stream.write_all(second).await
}
