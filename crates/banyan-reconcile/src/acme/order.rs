//! One order at a CA (RFC 8555 §7): account, order, challenges, certificate. Who answers the challenges is the caller's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::Acme;
use banyan_tls::local::LocalError;
use banyan_tls::request::{self, Request, RequestError};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};

/// For the CA to look, and to sign.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two questions, at first.
const ASK: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("the CA at {directory} cannot be spoken to")]
    Ca {
        directory: String,
        #[source]
        source: instant_acme::Error,
    },
    #[error("the CA refuses {name}: {why}")]
    Refused { name: String, why: String },
    #[error("the CA offers no http-01 challenge for {0}")]
    NoChallenge(String),
    #[error("the account in {0} is damaged; without that file a new one is made")]
    Account(PathBuf),
    #[error(transparent)]
    Certificate(#[from] RequestError),
    #[error("the account could not be kept")]
    Keep(#[from] LocalError),
    #[error("{0}")]
    Answers(String),
}

/// What is kept of an account.
#[derive(Serialize, Deserialize)]
struct Known {
    directory: String,
    contact: Option<String>,
    credentials: AccountCredentials,
}

/// Answers to challenges, by token.
pub(crate) type Answers = BTreeMap<String, String>;

/// Runs an order for these domains up to a certificate (PEM chain). `publish` must have the answers served when it returns.
pub(crate) async fn run<F>(
    acme: &Acme,
    domains: &[String],
    account_file: &Path,
    publish: impl FnOnce(Answers) -> F,
) -> Result<(Request, String), OrderError>
where
    F: Future<Output = Result<(), String>>,
{
    let ca = |source| match source {
        // The CA's own words about the names.
        instant_acme::Error::Api(problem) => OrderError::Refused {
            name: domains.join(", "),
            why: problem.to_string(),
        },
        source => OrderError::Ca {
            directory: acme.directory.clone(),
            source,
        },
    };
    let account = account(acme, account_file).await?;
    let identifiers: Vec<Identifier> = domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account
        .new_order(&NewOrder::new(&identifiers))
        .await
        .map_err(ca)?;
    publish(answers(&mut order, ca).await?)
        .await
        .map_err(OrderError::Answers)?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(ca)?;
        if authorization.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorization.challenge(ChallengeType::Http01)
        {
            challenge.set_ready().await.map_err(ca)?;
        }
    }
    let patience = RetryPolicy::new().initial_delay(ASK).timeout(PATIENCE);
    let ready = order.poll_ready(&patience).await.map_err(ca)?;
    if ready != OrderStatus::Ready && ready != OrderStatus::Valid {
        return Err(refused(&mut order, domains).await);
    }
    let request = Request::new(domains)?;
    order.finalize_csr(request.der()).await.map_err(ca)?;
    let chain = order.poll_certificate(&patience).await.map_err(ca)?;
    Ok((request, chain))
}

/// What the CA will ask for.
async fn answers(
    order: &mut Order,
    ca: impl Fn(instant_acme::Error) -> OrderError,
) -> Result<Answers, OrderError> {
    let mut answers = Answers::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(&ca)?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(ChallengeType::Http01);
        let challenge = challenge.ok_or(OrderError::NoChallenge(name))?;
        let answer = challenge.key_authorization().as_str().to_owned();
        answers.insert(challenge.token.clone(), answer);
    }
    Ok(answers)
}

/// The CA's own words, where it has some.
async fn refused(order: &mut Order, domains: &[String]) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let mut problems = state
            .challenges
            .iter()
            .filter_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problems.next() {
            let why = problem.to_string();
            return OrderError::Refused {
                name: authorization.identifier().to_string(),
                why,
            };
        }
    }
    OrderError::Refused {
        name: domains.join(", "),
        why: "it does not say why".to_owned(),
    }
}

/// The account that is kept, if it is of this CA; else a new one, kept with mode 0600.
async fn account(acme: &Acme, file: &Path) -> Result<Account, OrderError> {
    let ca = |source| OrderError::Ca {
        directory: acme.directory.clone(),
        source,
    };
    let builder = match &acme.root {
        Some(root) => Account::builder_with_root(root),
        None => Account::builder(),
    }
    .map_err(ca)?;
    if let Ok(text) = std::fs::read_to_string(file) {
        let known: Known = serde_json::from_str(&text).map_err(|_| OrderError::Account(file.to_owned()))?;
        if known.directory == acme.directory && known.contact == acme.contact {
            return builder.from_credentials(known.credentials).await.map_err(ca);
        }
    }
    let contact = acme.contact.as_ref().map(|address| format!("mailto:{address}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder
        .create(&new, acme.directory.clone(), None)
        .await
        .map_err(ca)?;
    let known = Known {
        directory: acme.directory.clone(),
        contact: acme.contact.clone(),
        credentials,
    };
    let text = serde_json::to_string(&known).map_err(|_| OrderError::Account(file.to_owned()))?;
    request::keep_secret(file, &text)?;
    Ok(account)
}
