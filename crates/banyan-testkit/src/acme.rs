//! A small ACME server (RFC 8555): directory, nonces, accounts, orders, http-01 challenges that are really fetched, CSRs that
//! are really signed by a CA of its own. Signatures, nonces and URLs of requests are checked.
//!
//! Everything is in one folder and ends on drop. Limits: one key kind (ES256), no revocation, no key change; validations
//! connect to one given address whatever the name, as names do not resolve in tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use banyan_runtime::Clock;
use banyan_tls::local::Local;
use banyan_tls::{Pair, Server, ServerConfig, TlsAcceptor};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::upstream::{Message, Upstream, Wire};

/// The server and its CA.
pub struct Acme {
    pub directory: String,
    server: Upstream,
    state: Arc<State>,
}

struct State {
    dir: TempDir,
    local: Local,
    /// Where challenges are fetched.
    validate: SocketAddr,
    /// Of certificates, in seconds.
    life: i64,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    base: String,
    nonces: BTreeSet<String>,
    next: usize,
    /// Thumbprint and key of each account.
    accounts: Vec<(String, Vec<u8>)>,
    orders: Vec<Order>,
    /// Challenges that were fetched, as (Host, answer).
    fetched: Vec<(String, String)>,
    issued: usize,
}

#[derive(Default)]
struct Order {
    names: Vec<String>,
    tokens: Vec<String>,
    /// By name: `None` not yet judged.
    valid: Vec<Option<bool>>,
    certificate: Option<String>,
}

/// What a request is answered by: status, more headers, type and body.
struct Answer {
    status: u16,
    location: Option<String>,
    kind: &'static str,
    body: String,
}

impl Acme {
    /// Fetches challenges from `validate`; its certificates live `life` seconds.
    pub async fn start(validate: SocketAddr, life: i64) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let local = Local::new(dir.path());
        let names = BTreeSet::from(["localhost".to_owned()]);
        local.ensure("acme", &names, unix()).expect("a CA");
        let pair = Pair::read(&local.leaf(), &local.leaf(), unix()).expect("its own certificate");
        let config = Server::new()
            .and_then(|server| server.config(&[pair]))
            .expect("TLS");
        let mut config = ServerConfig::clone(&config);
        // What is spoken here.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let state = Arc::new(State {
            dir,
            local,
            validate,
            life,
            books: Mutex::default(),
        });
        let serving = Arc::clone(&state);
        let server =
            Upstream::start(move |wire| serve(Arc::clone(&serving), Arc::clone(&config), wire)).await;
        let base = format!("https://localhost:{}", server.address.port());
        state.books().base.clone_from(&base);
        Self {
            directory: format!("{base}/directory"),
            server,
            state,
        }
    }

    /// By what its https, and the certificates it makes, are believed.
    pub fn root(&self) -> PathBuf {
        self.state.local.authority()
    }

    /// Certificates made so far.
    pub fn issued(&self) -> usize {
        self.state.books().issued
    }

    pub fn accounts(&self) -> usize {
        self.state.books().accounts.len()
    }

    /// Challenges that were fetched: the name asked for, and the answer.
    pub fn fetched(&self) -> Vec<(String, String)> {
        self.state.books().fetched.clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn folder(&self) -> &std::path::Path {
        self.state.dir.path()
    }
}

async fn serve(state: Arc<State>, config: Arc<ServerConfig>, wire: Wire) {
    let Ok(stream) = TlsAcceptor::from(config).accept(wire.into_stream()).await else {
        return;
    };
    let mut wire = Wire::over(stream);
    while let Some(request) = wire.message().await {
        let answer = answer(&state, &request).await;
        let nonce = state.books().nonce();
        let location = answer
            .location
            .map(|at| format!("Location: {at}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} X\r\nReplay-Nonce: {nonce}\r\nCache-Control: no-store\r\n{location}Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
            answer.status,
            answer.kind,
            answer.body.len()
        );
        wire.send(format!("{head}{}", answer.body)).await;
    }
}

async fn answer(state: &State, request: &Message) -> Answer {
    let path = request.target().to_owned();
    let method = request.start.split(' ').next().unwrap_or_default();
    match (method, path.as_str()) {
        ("GET", "/directory") => found(&state.books().directory()),
        ("HEAD" | "GET", "/new-nonce") => Answer {
            body: String::new(),
            ..found(&Value::Null)
        },
        ("POST", _) => {
            let opened = state.books().open(request, &path);
            match opened {
                Ok((account, payload)) => post(state, &path, account, &payload).await,
                Err(kind) => problem(kind),
            }
        }
        _ => problem("malformed"),
    }
}

async fn post(state: &State, path: &str, account: usize, payload: &Value) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<usize>().ok());
    match (parts[0], number(1), number(2)) {
        ("new-account", ..) => state.books().account(account),
        ("new-order", ..) => state.books().new_order(payload),
        ("order", Some(n), _) => state.books().order(n),
        ("authz", Some(n), Some(i)) => state.books().authorization(n, i),
        ("challenge", Some(n), Some(i)) => {
            state.validate(n, i, account).await;
            state.books().challenge(n, i)
        }
        ("finalize", Some(n), _) => state.finalize(n, payload),
        ("cert", Some(n), _) => match state.books().orders.get(n).and_then(|o| o.certificate.clone()) {
            Some(body) => Answer {
                status: 200,
                location: None,
                kind: "application/pem-certificate-chain",
                body,
            },
            None => problem("malformed"),
        },
        _ => problem("malformed"),
    }
}

impl State {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the token as the CA does (RFC 8555 §8.3), not following redirects.
    async fn validate(&self, order: usize, index: usize, account: usize) {
        let (name, token, wanted) = {
            let books = self.books();
            let Some(order) = books.orders.get(order) else {
                return;
            };
            let (Some(name), Some(token)) = (order.names.get(index), order.tokens.get(index)) else {
                return;
            };
            let thumbprint = &books.accounts[account].0;
            (name.clone(), token.clone(), format!("{token}.{thumbprint}"))
        };
        let mut wire = Wire::connect(self.validate).await;
        wire.send(format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        ))
        .await;
        let fetched = wire.message().await.filter(|message| message.status() == 200);
        let text = fetched.map(|message| message.text()).unwrap_or_default();
        let mut books = self.books();
        books.fetched.push((name, text.clone()));
        books.orders[order].valid[index] = Some(text.trim_end() == wanted);
    }

    fn finalize(&self, n: usize, payload: &Value) -> Answer {
        let csr = payload["csr"]
            .as_str()
            .and_then(|csr| URL_SAFE_NO_PAD.decode(csr).ok());
        let mut books = self.books();
        let ready = books.orders.get(n).is_some_and(Order::is_ready);
        let (Some(csr), true) = (csr, ready) else {
            return problem("orderNotReady");
        };
        match self.local.certify(&csr, unix(), self.life) {
            Ok(chain) => {
                books.issued += 1;
                books.orders[n].certificate = Some(chain);
                books.order(n)
            }
            Err(_) => problem("badCSR"),
        }
    }
}

impl Order {
    fn is_ready(&self) -> bool {
        self.valid.iter().all(|valid| *valid == Some(true))
    }

    fn status(&self) -> &'static str {
        if self.certificate.is_some() {
            "valid"
        } else if self.valid.contains(&Some(false)) {
            "invalid"
        } else if self.is_ready() {
            "ready"
        } else {
            "pending"
        }
    }
}

impl Books {
    fn nonce(&mut self) -> String {
        self.next += 1;
        let nonce = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("nonce {}", self.next)));
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn directory(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        json!({
            "newNonce": at("new-nonce"), "newAccount": at("new-account"), "newOrder": at("new-order"),
            "revokeCert": at("revoke"), "keyChange": at("key-change"),
        })
    }

    /// The account and payload of a signed request (RFC 8555 §6.2), or what is wrong with it.
    fn open(&mut self, request: &Message, path: &str) -> Result<(usize, Value), &'static str> {
        let envelope: Value = serde_json::from_slice(&request.body).map_err(|_| "malformed")?;
        let part = |name: &str| envelope[name].as_str().ok_or("malformed");
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "malformed");
        let (protected, payload) = (part("protected")?, part("payload")?);
        let head: Value = serde_json::from_slice(&decoded(protected)?).map_err(|_| "malformed")?;
        if head["alg"] != "ES256" || head["url"] != format!("{}{path}", self.base) {
            return Err("unauthorized");
        }
        let nonce = head["nonce"].as_str().unwrap_or_default();
        if !self.nonces.remove(nonce) {
            return Err("badNonce");
        }
        let account = match (head["jwk"].as_object(), head["kid"].as_str()) {
            (Some(_), None) if path == "/new-account" => self.known(&head["jwk"])?,
            (None, Some(kid)) => {
                let number = kid.strip_prefix(&format!("{}/account/", self.base));
                number.and_then(|n| n.parse().ok()).ok_or("accountDoesNotExist")?
            }
            _ => return Err("malformed"),
        };
        let (_, key) = self.accounts.get(account).ok_or("accountDoesNotExist")?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(
                format!("{protected}.{payload}").as_bytes(),
                &decoded(part("signature")?)?,
            )
            .map_err(|_| "unauthorized")?;
        let payload = decoded(payload)?;
        // POST-as-GET has an empty one.
        let payload = serde_json::from_slice(&payload).unwrap_or(Value::Null);
        Ok((account, payload))
    }

    /// The number of this key's account, a new one if need be.
    fn known(&mut self, jwk: &Value) -> Result<usize, &'static str> {
        let (x, y) = (
            jwk["x"].as_str().ok_or("malformed")?,
            jwk["y"].as_str().ok_or("malformed")?,
        );
        // RFC 7638: members in this order, nothing else.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        if let Some(number) = self.accounts.iter().position(|(known, _)| *known == thumbprint) {
            return Ok(number);
        }
        let mut key = vec![4];
        for coordinate in [x, y] {
            key.extend(URL_SAFE_NO_PAD.decode(coordinate).map_err(|_| "malformed")?);
        }
        self.accounts.push((thumbprint, key));
        Ok(self.accounts.len() - 1)
    }

    fn account(&self, number: usize) -> Answer {
        Answer {
            status: 201,
            location: Some(format!("{}/account/{number}", self.base)),
            ..found(&json!({ "status": "valid" }))
        }
    }

    fn new_order(&mut self, payload: &Value) -> Answer {
        let identifiers = payload["identifiers"].as_array().cloned().unwrap_or_default();
        let names: Vec<String> = identifiers
            .iter()
            .filter_map(|identifier| identifier["value"].as_str().map(str::to_owned))
            .collect();
        if names.is_empty() || identifiers.iter().any(|identifier| identifier["type"] != "dns") {
            return problem("rejectedIdentifier");
        }
        let n = self.orders.len();
        let token = |index: usize| URL_SAFE_NO_PAD.encode(Sha256::digest(format!("token {n} {index}")));
        self.orders.push(Order {
            tokens: (0..names.len()).map(token).collect(),
            valid: vec![None; names.len()],
            names,
            certificate: None,
        });
        Answer {
            status: 201,
            location: Some(format!("{}/order/{n}", self.base)),
            ..self.order(n)
        }
    }

    fn order(&self, n: usize) -> Answer {
        let Some(order) = self.orders.get(n) else {
            return problem("malformed");
        };
        let base = &self.base;
        let authorizations: Vec<String> = (0..order.names.len())
            .map(|i| format!("{base}/authz/{n}/{i}"))
            .collect();
        let identifiers: Vec<Value> = order
            .names
            .iter()
            .map(|name| json!({ "type": "dns", "value": name }))
            .collect();
        let mut shown = json!({
            "status": order.status(), "identifiers": identifiers, "authorizations": authorizations,
            "finalize": format!("{base}/finalize/{n}"),
        });
        if order.certificate.is_some() {
            shown["certificate"] = format!("{base}/cert/{n}").into();
        }
        found(&shown)
    }

    fn authorization(&self, n: usize, i: usize) -> Answer {
        let Some(name) = self.orders.get(n).and_then(|order| order.names.get(i)) else {
            return problem("malformed");
        };
        let status = status(self.orders[n].valid[i]);
        found(&json!({
            "status": status, "identifier": { "type": "dns", "value": name },
            "challenges": [self.challenge_of(n, i)],
        }))
    }

    fn challenge(&self, n: usize, i: usize) -> Answer {
        if self.orders.get(n).is_none_or(|order| order.names.len() <= i) {
            return problem("malformed");
        }
        found(&self.challenge_of(n, i))
    }

    fn challenge_of(&self, n: usize, i: usize) -> Value {
        let order = &self.orders[n];
        let mut challenge = json!({
            "type": "http-01", "url": format!("{}/challenge/{n}/{i}", self.base), "token": order.tokens[i],
            "status": status(order.valid[i]),
        });
        if order.valid[i] == Some(false) {
            let why = "the answer under /.well-known/acme-challenge/ is not that of the account";
            challenge["error"] =
                json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": why, "status": 403 });
        }
        challenge
    }
}

fn status(valid: Option<bool>) -> &'static str {
    match valid {
        None => "pending",
        Some(true) => "valid",
        Some(false) => "invalid",
    }
}

fn found(value: &Value) -> Answer {
    Answer {
        status: 200,
        location: None,
        kind: "application/json",
        body: value.to_string(),
    }
}

fn problem(kind: &str) -> Answer {
    let kind = format!("urn:ietf:params:acme:error:{kind}");
    Answer {
        status: 400,
        location: None,
        kind: "application/problem+json",
        body: json!({ "type": kind, "detail": "refused by the test's CA", "status": 400 }).to_string(),
    }
}

fn unix() -> i64 {
    i64::try_from(Clock.unix_ms() / 1000).unwrap_or(i64::MAX)
}

/// For messages of tests.
impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let orders: BTreeMap<usize, &str> = self
            .state
            .books()
            .orders
            .iter()
            .map(Order::status)
            .enumerate()
            .collect();
        write!(f, "Acme({}, {orders:?})", self.directory)
    }
}
