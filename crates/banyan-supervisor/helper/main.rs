//! A program for the tests: the launch shim, apps that behave and misbehave, and a controller that can be killed.
//!
//! `serve PORT STATUS [FILE]`: HTTP on 127.0.0.1; with FILE it answers STATUS only while that file exists, else 500.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use banyan_runtime::{Tasks, shutdown};
use banyan_supervisor::{ChildId, ChildSpec, Probe, RunAs, StopSignal, SupervisorConfig, launch};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_default();
    if verb == "launch" {
        let error = launch::run(arguments);
        let code = error.exit_code();
        let message = format!("launch: {error}\n");
        std::io::stderr().write_all(message.as_bytes()).ok();
        return ExitCode::from(code);
    }
    let arguments: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
    match verb.to_str() {
        Some("serve") => serve(&arguments),
        Some("controller") => controller(&arguments),
        _ => ExitCode::from(64),
    }
}

fn serve(arguments: &[String]) -> ExitCode {
    let [port, status, file @ ..] = arguments else {
        return ExitCode::from(64);
    };
    let Ok(listener) = TcpListener::bind(format!("127.0.0.1:{port}")) else {
        return ExitCode::from(3);
    };
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let mut request = [0; 4096];
        // Whatever was asked, the answer is the same.
        let _read = stream.read(&mut request).unwrap_or(0);
        let status = match file.first() {
            Some(file) if !Path::new(file).exists() => "500",
            _ => status,
        };
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).ok();
    }
    ExitCode::SUCCESS
}

/// `controller STATE COMMAND…`: starts the command as child `app`, says so, then waits to be killed.
fn controller(arguments: &[String]) -> ExitCode {
    let (Some((state, argv)), Ok(program)) = (arguments.split_first(), std::env::current_exe()) else {
        return ExitCode::from(64);
    };
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let state = PathBuf::from(state);
        let (trigger, shutdown) = shutdown::channel();
        let tasks = Tasks::new(trigger);
        let config = SupervisorConfig {
            state_dir: state.clone(),
            program,
        };
        let Ok((service, handle)) = banyan_supervisor::build(config, &tasks) else {
            return;
        };
        let service = tasks.spawn(
            banyan_runtime::TaskKind::Role,
            "supervisor",
            service.run(shutdown),
        );
        if handle.start(spec(&state, argv)).await.is_ok() {
            std::io::stdout().write_all(b"started\n").ok();
        }
        service.await.ok();
    });
    ExitCode::SUCCESS
}

fn spec(state: &Path, argv: &[String]) -> ChildSpec {
    ChildSpec {
        id: ChildId("app".to_owned()),
        argv: argv.to_vec(),
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        cwd: state.to_owned(),
        user: RunAs::Same,
        log: state.join("app.log"),
        ready: Probe::Running {
            for_at_least: Duration::ZERO,
        },
        live: None,
        start_grace: Duration::from_secs(5),
        stop: StopSignal::Terminate,
        stop_grace: Duration::from_secs(5),
        port: None,
    }
}
