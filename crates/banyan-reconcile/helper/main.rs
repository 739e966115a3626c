//! A program for the tests: the launch shim, and an app that listens, or exits at once.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().unwrap_or_default().to_str() {
        Some("launch") => {
            let error = banyan_supervisor::launch::run(arguments);
            ExitCode::from(error.exit_code())
        }
        Some("serve") => serve(&arguments.next().unwrap_or_default().to_string_lossy()),
        Some("fail") => {
            std::io::stderr().write_all(b"no coffee left\n").ok();
            ExitCode::from(7)
        }
        _ => ExitCode::from(64),
    }
}

/// Answers every request with 200.
fn serve(port: &str) -> ExitCode {
    let Ok(listener) = TcpListener::bind(format!("127.0.0.1:{port}")) else {
        return ExitCode::from(3);
    };
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 4096];
        let _read = stream.read(&mut request).unwrap_or(0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .ok();
    }
    ExitCode::SUCCESS
}
