//! A real browser without a screen: Debian's Chromium, told what to do by the DevTools protocol over two named pipes.
//!
//! One page each. Commands are sent one after another; what the page complains of meanwhile (exceptions, errors in its
//! console, refused by its policy) is kept for the test to judge. Killed on drop, its profile with it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::time::timeout;

use crate::process::{Process, ProcessError, Run};
use crate::wait::{self, TimedOut};

const PROGRAM: &str = "/usr/bin/chromium";
/// For one command; a page on a busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    #[error(transparent)]
    Start(#[from] ProcessError),
    #[error("the browser's pipe broke: {0}")]
    Pipe(#[from] io::Error),
    #[error("no answer to {0} within {LIMIT:?}")]
    Silent(String),
    #[error("{method} was refused: {answer}")]
    Refused { method: String, answer: Value },
    #[error("the page threw: {0}")]
    Threw(String),
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

/// What the page believes of its screen and its user.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub is_dark: bool,
    pub is_phone: bool,
}

#[derive(Debug)]
pub struct Browser {
    to: Sender,
    from: BufReader<Receiver>,
    next: u64,
    /// Of the page.
    session: String,
    complaints: Vec<String>,
    _process: Process,
    _dir: TempDir,
}

/// `None`: there is no Chromium on this machine; the test says that it was skipped.
pub fn installed() -> Option<&'static Path> {
    Some(Path::new(PROGRAM)).filter(|program| program.exists())
}

impl Browser {
    /// With an empty page and an empty profile.
    pub async fn start() -> Result<Self, BrowserError> {
        let dir = tempfile::Builder::new().prefix("banyan-browser-").tempdir()?;
        let pipe = |name: &str| -> io::Result<PathBuf> {
            let path = dir.path().join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            Ok(path)
        };
        let (commands, answers) = (pipe("commands")?, pipe("answers")?);
        // Opened for both: neither side waits for the other, and none sees an end before its time.
        let both = |path: &Path| OpenOptions::new().read_write(true).open_receiver(path);
        let from = BufReader::new(both(&answers)?);
        let to = OpenOptions::new().read_write(true).open_sender(&commands)?;
        // Without its sandbox: as root it has none, and it sees nothing but the tests' own pages.
        let command = "exec \"$0\" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
            --no-first-run --disable-extensions --disable-background-networking --disable-component-update \
            --mute-audio --force-color-profile=srgb --lang=en-US --user-data-dir=\"$1/profile\" --remote-debugging-pipe \
            about:blank 3<\"$1/commands\" 4>\"$1/answers\"";
        let program = Path::new(PROGRAM).as_os_str();
        let process = Run::new("sh")
            .args(["-c".as_ref(), command.as_ref(), program, dir.path().as_os_str()])
            .env("HOME", dir.path())
            .start()?;
        let mut browser = Self {
            to,
            from,
            next: 0,
            session: String::new(),
            complaints: Vec::new(),
            _process: process,
            _dir: dir,
        };
        browser.open_page().await?;
        Ok(browser)
    }

    async fn open_page(&mut self) -> Result<(), BrowserError> {
        let page = self
            .command("Target.createTarget", json!({ "url": "about:blank" }))
            .await?;
        let target = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = self.command("Target.attachToTarget", target).await?;
        attached["sessionId"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut self.session);
        for domain in [
            "Page.enable",
            "Runtime.enable",
            "Log.enable",
            "DOM.enable",
            "Network.enable",
        ] {
            self.command(domain, json!({})).await?;
        }
        Ok(())
    }

    pub async fn screen(&mut self, screen: Screen) -> Result<(), BrowserError> {
        let Screen {
            width,
            height,
            is_dark,
            is_phone,
        } = screen;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.command("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        let theme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": theme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.command("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    pub async fn open(&mut self, url: &str) -> Result<(), BrowserError> {
        self.command("Page.navigate", json!({ "url": url }))
            .await
            .map(drop)
    }

    /// The value of an expression; promises are awaited.
    pub async fn value(&mut self, expression: &str) -> Result<Value, BrowserError> {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let mut answer = self.command("Runtime.evaluate", asked).await?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(BrowserError::Threw(format!("{expression}: {thrown}"))),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Until an expression is true.
    pub async fn until(&mut self, expression: &str) -> Result<(), BrowserError> {
        let asked = format!("Boolean({expression})");
        let held = wait::until(expression, LIMIT, async || {
            // While a page is replaced there is nobody to ask.
            match self.value(&asked).await {
                Ok(Value::Bool(true)) => Ok(()),
                Ok(_) => Err(format!("not yet; {}", self.complaints.join("; "))),
                Err(error) => Err(error.to_string()),
            }
        });
        Ok(held.await?)
    }

    /// Of the element that a selector finds, when it is there.
    pub async fn click(&mut self, selector: &str) -> Result<(), BrowserError> {
        let found = format!("document.querySelector({})", json!(selector));
        self.until(&found).await?;
        self.value(&format!("{found}.click()")).await.map(drop)
    }

    /// As typed into the element that a selector finds.
    pub async fn fill(&mut self, selector: &str, text: &str) -> Result<(), BrowserError> {
        let found = format!("document.querySelector({})", json!(selector));
        self.until(&found).await?;
        self.value(&format!("{found}.value = '', {found}.focus()"))
            .await?;
        self.command("Input.insertText", json!({ "text": text }))
            .await
            .map(drop)
    }

    /// A key as the protocol names it: `Enter`, `Tab`, `ArrowRight`, `/`.
    pub async fn press(&mut self, key: &str) -> Result<(), BrowserError> {
        let text = match key {
            "Enter" => "\r",
            one if one.chars().count() == 1 => one,
            _ => "",
        };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code });
            self.command("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// A file, as chosen in an `<input type=file>`.
    pub async fn choose(&mut self, selector: &str, file: &Path) -> Result<(), BrowserError> {
        let found = self
            .command(
                "Runtime.evaluate",
                json!({ "expression": format!("document.querySelector({})", json!(selector)) }),
            )
            .await?;
        let object = &found["result"]["objectId"];
        self.command(
            "DOM.setFileInputFiles",
            json!({ "files": [file], "objectId": object }),
        )
        .await
        .map(drop)
    }

    /// As over a slow line: so many bytes per second; `None`: as fast as it goes again.
    pub async fn slow_uploads(&mut self, bytes_per_second: Option<usize>) -> Result<(), BrowserError> {
        // Negative: without a limit.
        let upload = bytes_per_second.map_or(json!(-1), |bytes| json!(bytes));
        let conditions =
            json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload });
        self.command("Network.emulateNetworkConditions", conditions)
            .await
            .map(drop)
    }

    /// What is on the screen, as PNG.
    pub async fn screenshot(&mut self) -> Result<Vec<u8>, BrowserError> {
        let taken = self
            .command("Page.captureScreenshot", json!({ "format": "png" }))
            .await?;
        let text = taken["data"].as_str().unwrap_or_default();
        BASE64_STANDARD
            .decode(text)
            .map_err(|error| io::Error::other(error).into())
    }

    /// Exceptions and errors since the last time.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    async fn command(&mut self, method: &str, params: Value) -> Result<Value, BrowserError> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let exchange = async {
            self.to.write_all(format!("{message}\0").as_bytes()).await?;
            loop {
                let mut answer = self.next_message().await?;
                if answer["id"] == id {
                    return Ok(answer);
                }
                if let Some(complaint) = complaint(&mut answer) {
                    self.complaints.push(complaint);
                }
            }
        };
        let mut answer: Value = match timeout(LIMIT, exchange).await {
            Ok(answer) => answer.map_err(BrowserError::Pipe)?,
            Err(_elapsed) => return Err(BrowserError::Silent(method.to_owned())),
        };
        match answer.get("error") {
            Some(_) => Err(BrowserError::Refused {
                method: method.to_owned(),
                answer,
            }),
            None => Ok(answer["result"].take()),
        }
    }

    async fn next_message(&mut self) -> io::Result<Value> {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).await?;
        message.pop();
        serde_json::from_slice(&message).map_err(io::Error::other)
    }
}

fn complaint(event: &mut Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            let entry = &params["entry"];
            Some(format!("{}: {} {}", entry["source"], entry["text"], entry["url"]))
        }
        "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
        _ => None,
    }
}
