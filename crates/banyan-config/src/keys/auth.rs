//! `[auth.NAME]`: how clients show who they are.

use super::Kind::{Boolean, Duration, List, Map, OneOf, Text};
use super::Rule::{HeaderName, NotEmpty, Path};
use super::{HOUR, Key, SECOND};

pub(super) static AUTH: &[Key] = &[
    Key::new(
        "jwks",
        Text(NotEmpty),
        "Tokens (JWT) signed by these keys: a https:// URL, or a file relative to banyan.toml.",
    )
    .alias(&["jwt", "jwks_url", "jwks_uri", "jwk_set"]),
    Key::new(
        "keys",
        Text(Path),
        "API keys: a file of name:SHA-256 lines, mode 0600, relative to banyan.toml.",
    )
    .alias(&["api_keys", "key_file"]),
    Key::new(
        "users",
        Text(Path),
        "Basic authentication: a file of name:hash lines (argon2 or bcrypt), mode 0600, relative to banyan.toml.",
    )
    .alias(&["basic", "htpasswd", "passwords"]),
    Key::new(
        "signed",
        Text(Path),
        "Signed links with an end: a file of name:secret lines (64 hexadecimal digits), mode 0600, relative to banyan.toml. The first signs, all open.",
    )
    .alias(&["links", "signed_urls", "secure_link", "keys_file"]),
    Key::new("issuer", Text(NotEmpty), "With jwks: what `iss` must be.").alias(&["iss"]),
    Key::new(
        "audience",
        List(&Text(NotEmpty)),
        "With jwks: one of these must be in `aud`.",
    )
    .alias(&["aud", "audiences"]),
    Key::new(
        "algorithms",
        List(&OneOf(&[
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
            "HS512",
        ])),
        "With jwks: what tokens may be signed by. HS… only with a file.",
    )
    .default("[\"RS256\", \"ES256\", \"EdDSA\"]")
    .alias(&["algorithm", "alg"]),
    Key::new(
        "leeway",
        Duration {
            min: 0,
            max: 600 * SECOND,
        },
        "With jwks: how far clocks may differ.",
    )
    .default("\"30s\"")
    .alias(&["clock_skew"]),
    Key::new(
        "refresh",
        Duration {
            min: 10 * SECOND,
            max: 24 * HOUR,
        },
        "With a URL: how often keys are fetched.",
    )
    .default("\"10m\""),
    Key::new(
        "ca",
        Text(Path),
        "With a URL: PEM file of the CAs that its server is believed by. Default: those of the system.",
    ),
    Key::new(
        "require",
        Map(NotEmpty, &Text(NotEmpty)),
        "With jwks: claims and the value that each must have or contain; else 403.",
    )
    .alias(&["required_claims", "scopes"]),
    Key::new(
        "claims",
        Map(HeaderName, &Text(NotEmpty)),
        "With jwks: headers for instances, and the claim that each is filled with.",
    )
    .alias(&["claims_to_headers"]),
    Key::new("user", Text(NotEmpty), "With jwks: the claim that names the user.")
        .default("\"sub\"")
        .alias(&["user_claim"]),
    Key::new("header", Text(HeaderName), "With keys: the header that clients send the key in.")
        .default("\"x-api-key\""),
    Key::new(
        "user_header",
        Text(HeaderName),
        "The header that tells instances the name of the user or key; what clients send by it is removed.",
    )
    .default("\"x-auth-user\""),
    Key::new(
        "forward",
        Boolean,
        "Whether instances get the credentials themselves, too.",
    )
    .default("false")
    .alias(&["pass_credentials"]),
];

/// In `[edge]` and in `[[route]]`.
pub(super) const NAMES: Key = Key::new(
    "auth",
    List(&Text(super::Rule::Name)),
    "Names of [auth]: clients must satisfy one of them, else 401.",
)
.alias(&["require_auth", "authentication"]);
