//! Tokens and codes over several processes.

use base64::Engine as _;

use super::*;
use crate::auth::{Keyring, OneTime, OneTimeError, TokenError, TokenSettings, Tokens, TotpSecret};
use crate::{Banyan, Settings};

fn key(name: &str, byte: u8) -> String {
    format!(
        "{name}:{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([byte; 32])
    )
}

fn keys(text: &str) -> Keyring {
    Keyring::parse(text).unwrap()
}

struct Issuers {
    _postgres: Postgres,
    database: Database,
}

impl Issuers {
    async fn new() -> Self {
        let postgres = Postgres::start().unwrap();
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(LIMIT);
        let database = Database::over(pool.connect_lazy(&postgres.url()).unwrap());
        database.install().await.unwrap();
        Self {
            _postgres: postgres,
            database,
        }
    }

    fn process(&self, keyring: &str) -> Tokens {
        Tokens::over(
            self.database.clone(),
            keys(keyring),
            TokenSettings::new("shop", "api"),
        )
    }
}

async fn until_denied(tokens: &Tokens, access: &str) {
    let denied = async {
        while !matches!(tokens.verify(access), Err(TokenError::Denied)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, denied)
        .await
        .expect("a denial is learned of");
}

#[tokio::test]
async fn a_denied_token_is_refused_by_all_processes_and_the_others_are_not() {
    let issuers = Issuers::new().await;
    let (one, other) = (issuers.process(&key("a", 1)), issuers.process(&key("a", 1)));
    let lost = one.start(7, Some("read write")).await.unwrap();
    let kept = one.start(7, None).await.unwrap();
    let claims = other.verify(&lost.access).unwrap();
    assert_eq!(
        (claims.sub.as_str(), claims.scope.as_deref()),
        ("7", Some("read write"))
    );
    one.deny(&claims).await.unwrap();
    assert!(
        matches!(other.verify_strictly(&lost.access).await, Err(TokenError::Denied)),
        "at once"
    );
    assert!(
        matches!(one.verify(&lost.access), Err(TokenError::Denied)),
        "at once, here"
    );
    until_denied(&other, &lost.access).await;
    other.verify(&kept.access).unwrap();
    one.deny_all(7).await.unwrap();
    assert!(
        matches!(other.verify_strictly(&kept.access).await, Err(TokenError::Denied)),
        "at once"
    );
    until_denied(&other, &kept.access).await;
    assert!(matches!(
        other.refresh(&kept.refresh).await,
        Err(TokenError::Invalid)
    ));
    let again = other.start(7, None).await.unwrap();
    assert_eq!(
        one.verify_strictly(&again.access).await.unwrap().sub,
        "7",
        "who logs in again may"
    );
    let late = issuers.process(&key("a", 1));
    until_denied(&late, &kept.access).await;
}

#[tokio::test]
async fn a_new_password_keeps_the_presented_token_alone_and_only_if_it_commits() {
    let issuers = Issuers::new().await;
    let (one, other) = (issuers.process(&key("a", 1)), issuers.process(&key("a", 1)));
    let lost = one.issue(7, None).await.unwrap();
    let presented = one.start(7, None).await.unwrap();
    let claims = one.verify(&presented.access).unwrap();
    let mut tx = issuers.database.begin().await.unwrap();
    one.deny_all_in(&mut tx, 7, Some(&claims)).await.unwrap();
    tx.rollback().await.unwrap();
    one.catch_up().await;
    one.verify_strictly(&lost).await.unwrap();

    let mut tx = issuers.database.begin().await.unwrap();
    one.deny_all_in(&mut tx, 7, Some(&claims)).await.unwrap();
    tx.commit().await.unwrap();
    one.catch_up().await;
    assert!(
        matches!(one.verify(&lost), Err(TokenError::Denied)),
        "at once, here"
    );
    until_denied(&other, &lost).await;
    for tokens in [&one, &other] {
        tokens.verify(&presented.access).unwrap();
        tokens.verify_strictly(&presented.access).await.unwrap();
    }
    assert!(matches!(
        one.refresh(&presented.refresh).await,
        Err(TokenError::Invalid)
    ));
    let next = other.issue(7, None).await.unwrap();
    one.verify_strictly(&next).await.unwrap();

    one.deny_all(7).await.unwrap();
    for token in [&presented.access, &next] {
        assert!(
            matches!(one.verify(token), Err(TokenError::Denied)),
            "nothing is kept for ever"
        );
        assert!(matches!(
            other.verify_strictly(token).await,
            Err(TokenError::Denied)
        ));
    }
}

#[tokio::test]
async fn an_app_is_not_ready_before_it_knows_what_was_denied() {
    let issuers = Issuers::new().await;
    let before = issuers.process(&key("a", 1));
    let lost = before.issue(7, None).await.unwrap();
    before.deny_all(7).await.unwrap();
    let settings = Settings::for_database(issuers._postgres.url().parse().unwrap());
    let banyan = Banyan::with(settings).await.unwrap();
    let tokens = Tokens::new(&banyan, keys(&key("a", 1)), TokenSettings::new("shop", "api"));
    tokio::time::timeout(LIMIT, banyan.become_ready())
        .await
        .expect("it gets ready");
    assert!(matches!(tokens.verify(&lost), Err(TokenError::Denied)));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_second_use_ends_the_family() {
    let issuers = Issuers::new().await;
    let tokens = issuers.process(&key("a", 1));
    let first = tokens.start("ann", Some("read")).await.unwrap();
    let elsewhere = tokens.start("ann", None).await.unwrap();
    let second = tokens.refresh(&first.refresh).await.unwrap();
    assert_eq!(
        tokens.verify(&second.access).unwrap().scope.as_deref(),
        Some("read")
    );
    assert!(
        matches!(tokens.refresh(&first.refresh).await, Err(TokenError::Reused)),
        "a thief or the owner"
    );
    assert!(matches!(
        tokens.refresh(&second.refresh).await,
        Err(TokenError::Invalid)
    ));
    tokens.refresh(&elsewhere.refresh).await.unwrap();
    assert!(matches!(
        tokens.refresh("invented").await,
        Err(TokenError::Invalid)
    ));
}

#[tokio::test]
async fn keys_are_exchanged_without_ending_a_token() {
    let issuers = Issuers::new().await;
    let (old, new) = (key("old", 1), key("new", 2));
    let steps = [
        old.clone(),
        format!("{old},{new}"),
        format!("{new},{old}"),
        new.clone(),
    ];
    let mut tokens: Vec<String> = Vec::new();
    let processes: Vec<Tokens> = steps.iter().map(|step| issuers.process(step)).collect();
    for pair in processes.windows(2) {
        let [before, after] = pair else {
            unreachable!("windows of two")
        };
        for maker in [before, after] {
            tokens.push(maker.start(7, None).await.unwrap().access);
            let made = tokens.last().unwrap();
            before.verify(made).unwrap();
            after.verify(made).unwrap();
        }
    }
    let last = &processes[3];
    assert!(
        matches!(last.verify(&tokens[0]), Err(TokenError::Invalid)),
        "its key is gone"
    );
    let forged = issuers.process(&key("new", 3)).start(7, None).await.unwrap();
    assert!(matches!(last.verify(&forged.access), Err(TokenError::Invalid)));
    let elsewhere = Tokens::over(
        issuers.database.clone(),
        keys(&new),
        TokenSettings::new("shop", "admin"),
    );
    let elsewhere = elsewhere.start(7, None).await.unwrap();
    assert!(
        matches!(last.verify(&elsewhere.access), Err(TokenError::Invalid)),
        "for another audience"
    );
    let none = tokens[5].split('.').collect::<Vec<_>>();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"new"}"#);
    let unsigned = format!("{header}.{}.", none[1]);
    assert!(matches!(last.verify(&unsigned), Err(TokenError::Invalid)));
}

async fn one_time(issuers: &Issuers) -> OneTime {
    let settings = Settings::for_database(issuers._postgres.url().parse().unwrap());
    let banyan = Banyan::with(settings).await.unwrap();
    OneTime::new(&banyan, keys(&key("a", 1)))
}

#[tokio::test]
async fn an_authenticators_code_is_taken_once_and_tries_are_few() {
    let issuers = Issuers::new().await;
    let codes = one_time(&issuers).await;
    let secret = TotpSecret::random();
    let code = secret.now();
    assert!(codes.check_totp(7, &secret, &code).await.unwrap());
    assert!(
        !codes.check_totp(7, &secret, &code).await.unwrap(),
        "somebody looked over a shoulder"
    );
    assert!(
        codes.check_totp(8, &secret, &code).await.unwrap(),
        "another user's is another"
    );
    let refused = async {
        loop {
            match codes.check_totp(7, &secret, "000000").await {
                Ok(_) => {}
                Err(error) => break error,
            }
        }
    };
    let refused = tokio::time::timeout(LIMIT, refused).await.expect("tries are few");
    assert!(matches!(refused, OneTimeError::TooMany(_)), "{refused}");
}

#[tokio::test]
async fn a_sent_code_is_good_for_its_purpose_once_and_for_five_tries() {
    let issuers = Issuers::new().await;
    let codes = one_time(&issuers).await;
    let five = Duration::from_secs(300);
    let code = codes.send_code("reset", "ann", five).await.unwrap();
    assert!(
        code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()),
        "{code}"
    );
    let check =
        async |purpose: &str, owner: &str, code: &str| codes.check_code(purpose, owner, code).await.unwrap();
    assert!(!check("log-in", "ann", &code).await);
    assert!(!check("reset", "bob", &code).await);
    assert!(check("reset", "ann", &code).await);
    assert!(!check("reset", "ann", &code).await, "it is used up");
    let code = codes.send_code("reset", "ann", five).await.unwrap();
    let wrong = if code == "123456" { "654321" } else { "123456" };
    for _ in 0..5 {
        assert!(!check("reset", "ann", wrong).await);
    }
    assert!(!check("reset", "ann", &code).await, "it was guessed at too often");
    let code = codes.send_code("reset", "ann", five).await.unwrap();
    let update = "update banyan.one_time_code set until = now()";
    sqlx::query(update)
        .execute(issuers.database.pool())
        .await
        .unwrap();
    assert!(!check("reset", "ann", &code).await, "too late");
}
