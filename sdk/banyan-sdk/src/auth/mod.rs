//! Who is it? Passwords, signed tokens that can be taken back, codes from an app or a mail.

mod denial;
mod key_file;
pub mod keys;
pub mod one_time;
pub mod password;
pub mod token;

pub use keys::{Keyring, KeyringError};
pub use one_time::{OneTime, OneTimeError, TotpSecret};
pub use password::{PasswordError, Passwords, Verdict};
pub use token::{Claims, Pair, TokenError, TokenSettings, Tokens};
