//! The authenticator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::{Address, AuthError, Authenticator, Claims, Credentials, Pool, PortError, Timestamp, User, UserStore};
use runtime::metrics::Metrics;

use crate::hashing::Hashing;
use crate::metrics::AuthMetrics;
use crate::password::{self, PlaintextPasswords, Verdict};
use crate::reachability::Reachability;
use crate::standing::{Remembered, Standing, Standings};
use crate::token::TokenSigner;

/// How long a token waits for the store before its signature alone decides.
const STANDING_DEADLINE: Duration = Duration::from_secs(1);

/// Judges passwords against the account store and tokens by their signature and the account's standing.
///
/// A replica keeps nothing that others need: any number of them may run over one store and one secret.
pub struct AuthService {
    store: Arc<dyn UserStore>,
    signer: TokenSigner,
    plaintext: PlaintextPasswords,
    hashing: Hashing,
    standings: Standings,
    reachability: Reachability,
    metrics: AuthMetrics,
}

impl AuthService {
    /// A service over `store`, which need not answer yet.
    pub fn new(store: Arc<dyn UserStore>, signer: TokenSigner, plaintext: PlaintextPasswords) -> Self {
        Self {
            store,
            signer,
            plaintext,
            hashing: Hashing::default(),
            standings: Standings::default(),
            reachability: Reachability::default(),
            metrics: AuthMetrics::default(),
        }
    }

    /// Shows in `metrics` what it finds.
    #[must_use]
    pub fn counted_in(self, metrics: &Metrics) -> Self {
        let metrics = AuthMetrics::new(metrics);
        Self { metrics, ..self }
    }

    /// How busy the way to the accounts is.
    pub(crate) fn pool(&self) -> Option<Pool> {
        self.store.pool()
    }

    async fn judge_password(&self, credentials: &Credentials) -> Result<String, AuthError> {
        let admission = self.hashing.admit()?;
        let user = match credentials.username.parse::<Address>() {
            Ok(email) => self.look_up(&email).await.map_err(AuthError::Unavailable)?,
            Err(_) => None,
        };

        let stored = user.as_ref().map(|user| user.password.clone());
        let (password, plaintext) = (credentials.password.clone(), self.plaintext);
        let verdict = self
            .hashing
            .run(admission, move || {
                password::judge(stored.as_deref(), &password, plaintext)
            })
            .await?;

        let Some(user) = user else {
            return Err(AuthError::Refused);
        };
        if verdict == Verdict::Unusable {
            tracing::warn!(
                user.id = user.id,
                "what the account has for a password lets nobody in: `user passwd` sets another"
            );
        }
        if user.disabled_at.is_some() || matches!(verdict, Verdict::Wrong | Verdict::Unusable) {
            return Err(AuthError::Refused);
        }
        if let Verdict::RightAndOutdated(hash) = verdict {
            self.rehash(&user, &hash).await;
        }

        // A password set within this second voids what was issued in it; the new token counts from the next.
        let now = Timestamp::now().unix_ms().div_euclid(1000);
        let iat = user
            .tokens_valid_from
            .map_or(now, |from| now.max(from.unix_ms().div_euclid(1000)));
        self.signer
            .sign(user.email, iat)
            .map_err(|error| AuthError::Unavailable(PortError::unavailable("sign a token", error)))
    }

    async fn judge_token(&self, token: &str) -> Result<Claims, AuthError> {
        let claims = self.signer.read(token).ok_or(AuthError::Refused)?;
        let in_force = self.is_in_force(&claims).await;
        in_force.then_some(claims).ok_or(AuthError::Refused)
    }

    /// The account, and its standing remembered.
    async fn look_up(&self, email: &Address) -> Result<Option<User>, PortError> {
        let found = self.store.find(email).await;
        match &found {
            Ok(user) => {
                self.reachability.answered();
                self.standings
                    .remember(email, Standing::of(user.as_ref()), Instant::now());
            }
            Err(error) => self.reachability.failed(error, Instant::now()),
        }
        found
    }

    /// Replaces an outdated password. A store that fails here costs nobody the login; the next one tries again.
    async fn rehash(&self, user: &User, hash: &str) {
        match self.store.rehash(&user.email, &user.password, hash).await {
            Ok(true) => tracing::info!(user.id = user.id, "the stored password is now an argon2id hash"),
            Ok(false) => tracing::info!(
                user.id = user.id,
                "the password was changed meanwhile and is left alone"
            ),
            Err(error) => tracing::warn!(
                user.id = user.id,
                error = %domain::Chain(&error),
                "cannot store the password's hash; the next login tries again"
            ),
        }
    }

    /// Whether the account still stands behind a token that carries the right signature.
    async fn is_in_force(&self, claims: &Claims) -> bool {
        let remembered = self.standings.recall(&claims.username, claims.iat, Instant::now());
        if let Remembered::Fresh(good) = remembered {
            return good;
        }
        let otherwise = match remembered {
            Remembered::Stale(good) => good,
            _ => true,
        };
        if self.reachability.failed_lately(Instant::now()) {
            return otherwise;
        }
        match tokio::time::timeout(STANDING_DEADLINE, self.look_up(&claims.username)).await {
            Ok(Ok(user)) => Standing::of(user.as_ref()).honours(claims.iat),
            Ok(Err(_logged)) => otherwise,
            Err(elapsed) => {
                self.reachability
                    .failed(&PortError::unavailable("find an account", elapsed), Instant::now());
                otherwise
            }
        }
    }
}

#[async_trait]
impl Authenticator for AuthService {
    async fn login(&self, credentials: &Credentials) -> Result<String, AuthError> {
        let judged = self.judge_password(credentials).await;
        self.metrics.password(&judged);
        judged
    }

    async fn validate(&self, token: &str) -> Result<Claims, AuthError> {
        let judged = self.judge_token(token).await;
        self.metrics.token(&judged);
        judged
    }

    async fn ping(&self) -> Result<(), PortError> {
        let answer = self.store.ping().await;
        match &answer {
            Ok(()) => self.reachability.answered(),
            Err(error) => self.reachability.failed(error, Instant::now()),
        }
        answer
    }
}
