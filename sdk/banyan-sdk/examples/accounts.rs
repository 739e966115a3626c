//! Users with passwords, by axum-login: a page that only they see, and a token for programs. DATABASE_URL, PORT, TOKEN_KEYS
//! (`a:$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=')`), and REDIS_URL if there is one.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use banyan_sdk::auth::{Keyring, Passwords, TokenSettings, Tokens};
use banyan_sdk::session::axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend};
use banyan_sdk::{Banyan, Database};

#[derive(Clone, Debug)]
struct User {
    name: String,
    password: String,
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    /// Another password, and all sessions of before have ended.
    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

#[derive(Clone, Debug)]
struct Users {
    database: Database,
    passwords: Passwords,
    tokens: Tokens,
}

struct Credentials {
    name: String,
    password: String,
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = Credentials;
    type Error = sqlx::Error;

    async fn authenticate(&self, credentials: Credentials) -> Result<Option<User>, sqlx::Error> {
        let user = self.get_user(&credentials.name).await?;
        let stored = user.as_ref().map(|user| user.password.clone());
        // As much work without a user: the time does not tell which there are.
        let verdict = self.passwords.verify(credentials.password, stored).await;
        Ok(user.filter(|_| verdict.is_ok_and(|verdict| verdict.is_right())))
    }

    async fn get_user(&self, name: &String) -> Result<Option<User>, sqlx::Error> {
        let query = sqlx::query_scalar("select password from account where name = $1").bind(name);
        let password: Option<String> = query.fetch_optional(self.database.pool()).await?;
        Ok(password.map(|password| User {
            name: name.clone(),
            password,
        }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let banyan = banyan_sdk::init().await?;
    let users = Users {
        database: banyan.db().clone(),
        passwords: Passwords::default(),
        tokens: Tokens::new(
            &banyan,
            Keyring::from_env()?,
            TokenSettings::new("accounts", "programs"),
        ),
    };
    let database = banyan.db().clone();
    let banyan: Banyan = banyan.before_ready(move || prepare(database.clone()));
    let app = Router::new()
        .route("/register/{name}", post(register))
        .route("/log-in/{name}", post(log_in))
        .route("/me", get(me))
        .route("/token", post(token))
        .route("/by-token", get(by_token))
        .layer(AuthManagerLayerBuilder::new(users.clone(), banyan.sessions().layer()).build())
        .with_state(users);
    banyan.serve(app).await?;
    Ok(())
}

async fn prepare(database: Database) -> Result<(), sqlx::Error> {
    let table = "create table if not exists account (name text primary key, password text not null)";
    sqlx::raw_sql(table).execute(database.pool()).await?;
    Ok(())
}

async fn register(State(users): State<Users>, Path(name): Path<String>, password: String) -> Response {
    let Ok(hash) = users.passwords.hash(password).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let insert = sqlx::query("insert into account values ($1, $2)")
        .bind(name)
        .bind(hash);
    match insert.execute(users.database.pool()).await {
        Ok(_) => StatusCode::CREATED.into_response(),
        Err(_) => StatusCode::CONFLICT.into_response(),
    }
}

async fn log_in(mut auth: AuthSession<Users>, Path(name): Path<String>, password: String) -> Response {
    match auth.authenticate(Credentials { name, password }).await {
        Ok(Some(user)) if auth.login(&user).await.is_ok() => "hello".into_response(),
        Ok(None) => StatusCode::UNAUTHORIZED.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn me(auth: AuthSession<Users>) -> Response {
    match auth.user {
        Some(user) => user.name.into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn token(auth: AuthSession<Users>) -> Response {
    let Some(user) = auth.user else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    match auth.backend.tokens.start(user.name, None).await {
        Ok(pair) => Json(pair).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn by_token(State(users): State<Users>, headers: HeaderMap) -> Response {
    let bearer = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    match bearer.map(|token| users.tokens.verify(token)) {
        Some(Ok(claims)) => claims.sub.into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}
