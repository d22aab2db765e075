//! The auth service, put together.

use std::sync::Arc;
use std::time::Duration;

use domain::{Address, Authenticator as _, UserStore};
use runtime::http::Requests;
use runtime::metrics::Metrics;
use runtime::settings::{ListenError, Secret, listen};
use runtime::{Lifecycle, probes};

use crate::{AuthService, ServiceSettings, TokenSigner, accounts, http};

/// How often a store that is away is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// What the service is made of.
pub struct Auth {
    /// The accounts.
    pub store: Arc<dyn UserStore>,
    /// The authenticator over them.
    pub service: Arc<AuthService>,
    /// The account to make when it is missing.
    pub admin: Option<(Address, Secret)>,
    metrics: Metrics,
}

impl Auth {
    /// Puts the service together.
    ///
    /// # Errors
    /// One sentence when a setting is missing or wrong.
    pub fn new(store: Arc<dyn UserStore>, settings: &ServiceSettings) -> Result<Self, String> {
        let secret = settings.accounts.jwt_secret.as_ref();
        let secret = secret.ok_or("JWT_SECRET is not set: it signs the tokens and is the same for every replica")?;
        let signer = TokenSigner::new(secret.expose()).map_err(|weak| weak.to_string())?;
        let metrics = Metrics::of_this_build();
        let service = AuthService::new(Arc::clone(&store), signer, settings.accounts.plaintext_passwords);
        let service = service.counted_in(&metrics);
        Ok(Self {
            store,
            service: Arc::new(service),
            admin: settings.accounts.admin.account()?,
            metrics,
        })
    }

    /// Opens both ports and serves on `life`. Accounts that cannot be reached are waited for meanwhile.
    ///
    /// # Errors
    /// A port cannot be opened.
    pub async fn start(self, settings: &ServiceSettings, life: &Lifecycle) -> Result<(), ListenError> {
        let listener = listen("MP3_LISTEN", settings.listen).await?;
        probes::serve(
            settings.ops_listen,
            http::readiness(&self.service),
            self.metrics.clone(),
            life,
        )
        .await
        .map_err(ListenError::of("MP3_OPS_LISTEN", settings.ops_listen))?;
        let address = listener.local_addr().unwrap_or(settings.listen);
        tracing::info!(%address, "auth is listening");
        life.spawn(runtime::http::serve(
            listener,
            Requests::counted_in(&self.metrics).observe(http::router(Arc::clone(&self.service))),
            life.clone(),
        ));
        let stopping = life.stopping();
        life.spawn(async move {
            // Nothing is half-done when it is dropped: a store's calls are whole or not made.
            stopping.run_until_cancelled(self.make_admin()).await;
        });
        Ok(())
    }

    /// Waits for the accounts, then makes the one that was asked for.
    async fn make_admin(self) {
        while self.service.ping().await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
        let Some((email, password)) = self.admin else { return };
        loop {
            match accounts::create_if_missing(&*self.store, &email, password.expose()).await {
                Ok(true) => return tracing::info!("made the account of MP3_ADMIN_EMAIL"),
                Ok(false) => return,
                Err(accounts::AccountError::Store(error)) => {
                    tracing::warn!(
                        error = %domain::Chain(&error),
                        "cannot make the account of MP3_ADMIN_EMAIL yet"
                    );
                }
                Err(error) => {
                    return tracing::error!(
                        error = %domain::Chain(&error),
                        "cannot make the account of MP3_ADMIN_EMAIL"
                    );
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
