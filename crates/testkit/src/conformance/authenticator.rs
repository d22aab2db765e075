//! What every [`Authenticator`] keeps, in the same process or behind HTTP.
//!
//! One function a behaviour; each takes a [`Subject`] of its own.

#![expect(clippy::unwrap_used, reason = "a suite fails as a test does: by panicking")]

use std::sync::Arc;

use domain::{Address, AuthError, Authenticator, Credentials, Timestamp, UserStore};

/// What is in the account store before the first login: an account of the original system.
pub const LEGACY_ACCOUNT: (&str, &str) = ("Legacy@Example.com", "Admin123");

/// An authenticator and the accounts behind it. The accounts hold [`LEGACY_ACCOUNT`] as plain text.
pub struct Subject {
    /// What is under test.
    pub authenticator: Arc<dyn Authenticator>,
    /// The accounts it judges by.
    pub accounts: Arc<dyn UserStore>,
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

impl Subject {
    async fn login(&self, username: &str, password: &str) -> Result<String, AuthError> {
        self.authenticator.login(&credentials(username, password)).await
    }

    async fn assert_refused(&self, username: &str, password: &str) {
        let answer = self.login(username, password).await;
        assert!(matches!(answer, Err(AuthError::Refused)), "{username:?}: {answer:?}");
    }
}

/// A login gives a token that says who logged in, in the row's spelling, for one day.
pub async fn a_token_says_who_logged_in(subject: Subject) {
    let before = Timestamp::now().unix_ms() / 1000;
    let token = subject.login("legacy@EXAMPLE.com", "Admin123").await.unwrap();
    let claims = subject.authenticator.validate(&token).await.unwrap();
    assert_eq!(claims.username.as_str(), "Legacy@Example.com");
    assert!(claims.admin);
    assert!(claims.iat >= before && claims.iat <= before + 60, "{claims:?}");
    assert_eq!(claims.exp, claims.iat + 24 * 60 * 60);
    subject.authenticator.ping().await.unwrap();
}

/// Whatever is wrong with a login, it looks the same.
pub async fn wrong_user_and_wrong_password_look_alike(subject: Subject) {
    let long = "x".repeat(3000);
    for (username, password) in [
        ("nobody@example.com", "Admin123"),
        ("Legacy@Example.com", "admin123"),
        ("Legacy@Example.com", ""),
        ("Legacy@Example.com", "Admin123 "),
        ("Legacy@Example.com", &long),
        ("Légacy@Example.com", "Admin123"),
        ("", ""),
        ("", "Admin123"),
        (" ", "Admin123"),
        ("' OR '1'='1", "Admin123"),
        ("no address at all", "Admin123"),
        ("tab\tand\0nul", "Admin123"),
    ] {
        subject.assert_refused(username, password).await;
    }
}

/// An account of the original logs in with its plain text, which is a hash from then on, and works again.
pub async fn a_legacy_password_is_hashed_at_the_first_success(subject: Subject) {
    let legacy = address(LEGACY_ACCOUNT.0);
    let stored = || async { subject.accounts.find(&legacy).await.unwrap().unwrap().password };
    subject.assert_refused(LEGACY_ACCOUNT.0, "wrong").await;
    assert_eq!(stored().await, "Admin123", "a failure changes nothing");
    let first = subject.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    let hash = stored().await;
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    subject.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    assert_eq!(stored().await, hash, "it is hashed once");
    subject.assert_refused(LEGACY_ACCOUNT.0, "wrong").await;
    subject.assert_refused(LEGACY_ACCOUNT.0, &hash).await;
    subject.authenticator.validate(&first).await.unwrap();
}

/// A disabled account looks like a wrong password, and like any other when it is enabled.
pub async fn a_disabled_account_looks_like_a_wrong_password(subject: Subject) {
    let legacy = address(LEGACY_ACCOUNT.0);
    subject.accounts.set_disabled(&legacy, true).await.unwrap();
    subject.assert_refused(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await;
    subject.accounts.set_disabled(&legacy, false).await.unwrap();
    let token = subject.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    subject.authenticator.validate(&token).await.unwrap();
}

/// A token is void after the password changed, and the one after it is good at once. The authenticator may remember an
/// account for a minute: this one has not seen it before.
pub async fn a_token_is_void_after_a_change(issuer: Subject, judge: Subject) {
    let legacy = address(LEGACY_ACCOUNT.0);
    let old = issuer.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    let hash = issuer.accounts.find(&legacy).await.unwrap().unwrap().password;
    assert!(issuer.accounts.set_password(&legacy, &hash).await.unwrap());
    let refused = judge.authenticator.validate(&old).await;
    assert!(matches!(refused, Err(AuthError::Refused)), "{refused:?}");
    let new = issuer.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    for authenticator in [&issuer.authenticator, &judge.authenticator] {
        authenticator.validate(&new).await.unwrap();
    }
}

/// A token of an account that is removed or disabled is void. The authenticators have not seen the accounts before.
pub async fn a_token_is_void_without_its_account(issuer: Subject, judge: Subject) {
    let legacy = address(LEGACY_ACCOUNT.0);
    let token = issuer.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    assert!(issuer.accounts.remove(&legacy).await.unwrap());
    let refused = judge.authenticator.validate(&token).await;
    assert!(matches!(refused, Err(AuthError::Refused)), "{refused:?}");
}

/// What is no token, or not ours, is refused and never an error.
pub async fn garbage_is_not_a_token(subject: Subject) {
    let token = subject.login(LEGACY_ACCOUNT.0, LEGACY_ACCOUNT.1).await.unwrap();
    let tampered = token.replacen('.', "A.", 1);
    let long = "a".repeat(20_000);
    for garbage in [
        "",
        " ",
        ".",
        "..",
        "x.y.z",
        "null",
        "ä",
        "a b",
        "line\r\nbreak: x",
        &tampered,
        &long,
    ] {
        let answer = subject.authenticator.validate(garbage).await;
        assert!(matches!(answer, Err(AuthError::Refused)), "{garbage:.40?}: {answer:?}");
    }
}
