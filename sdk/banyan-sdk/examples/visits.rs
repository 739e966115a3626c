//! Counts a visitor's visits in a session: also across restarts, instances, and the move to Redis. DATABASE_URL, PORT, and REDIS_URL
//! if there is one. `curl -c jar -b jar 127.0.0.1:3000/`.

use std::fmt::Display;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use banyan_sdk::session::{Session, log_in, log_out, owner};
use banyan_sdk::{Banyan, Sessions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let banyan = banyan_sdk::init().await?;
    let app = Router::new()
        .route("/", get(visit))
        .route("/log-in/{name}", post(enter))
        .route("/log-out", post(leave))
        .route("/log-out-everywhere", post(leave_everywhere))
        .layer(banyan.sessions().layer())
        .with_state(banyan.clone());
    banyan.serve(app).await?;
    Ok(())
}

type Answer = Result<String, (StatusCode, String)>;

/// `serve` makes 503 of it when the sessions cannot be reached.
fn failed(error: impl Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn visit(session: Session) -> Answer {
    let visits: u64 = session.get("visits").await.map_err(failed)?.unwrap_or(0) + 1;
    session.insert("visits", visits).await.map_err(failed)?;
    let name = owner(&session).await.map_err(failed)?;
    Ok(format!(
        "visit {visits} of {}",
        name.as_deref().unwrap_or("a stranger")
    ))
}

async fn enter(session: Session, Path(name): Path<String>) -> Answer {
    log_in(&session, &name).await.map_err(failed)?;
    Ok(format!("hello {name}"))
}

async fn leave(session: Session) -> Answer {
    log_out(&session).await.map_err(failed)?;
    Ok("bye".to_owned())
}

async fn leave_everywhere(State(banyan): State<Banyan>, session: Session) -> Answer {
    let name = owner(&session).await.map_err(failed)?;
    let name = name.ok_or((StatusCode::UNAUTHORIZED, "who?".to_owned()))?;
    let sessions: &Sessions = banyan.sessions();
    let ended = sessions.end_all(name, session.id()).await.map_err(failed)?;
    Ok(format!("{ended} ended"))
}
