//! All four services in one process, or some of them: the product's single process, and the harness of its tests.

use std::net::SocketAddr;
use std::sync::Arc;

use auth::{AuthService, TokenSigner};
use converter::{Children, Converter};
use domain::{Authenticator, BlobStore, JobStore, Queue, UserStore};
use gateway::{GatewayState, Ports};
use notification::Notification;
use runtime::Lifecycle;
use runtime::metrics::Metrics;
use runtime::probes::{self, Readiness};
use runtime::settings::{ListenError, listen};

use crate::data_dir::{DataDir, DataDirError};
use crate::settings::ServeSettings;

/// Which of the services run here. The others are elsewhere, ours or foreign.
#[derive(Clone, Debug)]
pub struct Services {
    /// Who judges credentials.
    pub auth: Auth,
    /// Whether the gateway runs here.
    pub gateway: bool,
    /// Whether the converter runs here.
    pub converter: bool,
    /// Whether the notification runs here.
    pub notification: bool,
}

/// Where auth is.
#[derive(Clone, Debug)]
pub enum Auth {
    /// In this process, for the gateway beside it alone.
    Embedded,
    /// In this process, and open to others on a port of its own on 127.0.0.1.
    Listening,
    /// Elsewhere, at `host:port`.
    Remote(String),
}

impl Services {
    /// All four, nothing open but the gateway.
    pub const ALL: Self = Self {
        auth: Auth::Embedded,
        gateway: true,
        converter: true,
        notification: true,
    };
}

/// A running suite. It ends with its [`Lifecycle`].
pub struct Stack {
    /// Where the gateway listens, if it runs here.
    pub gateway: Option<SocketAddr>,
    /// Where auth listens, if it does.
    pub auth: Option<SocketAddr>,
    /// Where the operations port is, if it could be opened.
    pub operations: Option<SocketAddr>,
    /// The accounts.
    pub users: Arc<dyn UserStore>,
    /// The job records.
    pub jobs: Arc<dyn JobStore>,
    /// The files.
    pub blobs: Arc<dyn BlobStore>,
    /// The queue that all of them share.
    pub queue: Arc<dyn Queue>,
}

/// Why a suite could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A URL cannot be used.
    #[error(transparent)]
    Connect(#[from] adapters::ConnectError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A setting is wrong; the text names it.
    #[error("{0}")]
    Setting(String),
    /// A port cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Stack {
    /// Connects everything and starts the chosen services on `life`. Servers that are away are waited for.
    ///
    /// # Errors
    /// See [`StackError`]; what was started ends with `life`.
    pub async fn start(
        settings: &ServeSettings,
        services: &Services,
        data: &DataDir,
        life: &Lifecycle,
    ) -> Result<Self, StackError> {
        let metrics = Metrics::of_this_build();
        let users = adapters::users::connect(&settings.stores.users(data))?;
        let jobs = adapters::jobs::connect(&settings.stores.jobs(data))?;
        let blobs = adapters::blobs::connect(&settings.stores.blobs(data))?;
        let queue = adapters::queue::connect(&settings.stores.queue_url)?;
        let mut stack = Self {
            gateway: None,
            auth: None,
            operations: None,
            users,
            jobs,
            blobs,
            queue,
        };

        let children = Children::new(&settings.conversion);
        let authenticator = stack.start_auth(settings, &services.auth, data, life, &metrics).await?;
        if services.gateway {
            let listener = listen("MP3_LISTEN", settings.listen).await?;
            let address = listener
                .local_addr()
                .map_err(ListenError::of("MP3_LISTEN", settings.listen))?;
            let ports = Ports {
                authenticator,
                blobs: Arc::clone(&stack.blobs),
                jobs: Arc::clone(&stack.jobs),
                queue: Arc::clone(&stack.queue),
            };
            let state = GatewayState::new(ports, settings.gateway.clone(), life.clone(), &metrics);
            state.start();
            let readiness = if services.converter {
                children.add_to(state.readiness())
            } else {
                state.readiness()
            };
            stack
                .open_operations_port(settings.ops_listen, readiness, &metrics, life)
                .await?;
            life.spawn(runtime::http::serve(listener, gateway::router(state), life.clone()));
            stack.gateway = Some(address);
        }
        if services.converter {
            let converter = Converter {
                blobs: Arc::clone(&stack.blobs),
                jobs: Arc::clone(&stack.jobs),
                queue: Arc::clone(&stack.queue),
                children: children.clone(),
                video_queue: settings.gateway.video_queue.clone(),
                mp3_queue: settings.gateway.mp3_queue.clone(),
                settings: settings.conversion.clone(),
            };
            converter.start(life, &metrics);
        }
        if services.notification {
            stack.start_notification(settings, data, life, &metrics)?;
        }
        Ok(stack)
    }

    async fn start_auth(
        &mut self,
        settings: &ServeSettings,
        auth: &Auth,
        data: &DataDir,
        life: &Lifecycle,
        metrics: &Metrics,
    ) -> Result<Arc<dyn Authenticator>, StackError> {
        if let Auth::Remote(address) = auth {
            return Ok(adapters::authn::connect(address)?);
        }
        let secret = match &settings.accounts.jwt_secret {
            Some(secret) => secret.expose().to_owned(),
            None => data.secret("jwt")?,
        };
        let signer = TokenSigner::new(&secret).map_err(|weak| StackError::Setting(weak.to_string()))?;
        let service = AuthService::new(Arc::clone(&self.users), signer, settings.accounts.plaintext_passwords);
        let service = Arc::new(service.counted_in(metrics));
        if let Auth::Listening = auth {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = listen("MP3_LISTEN", address).await?;
            self.auth = listener.local_addr().ok();
            let router = auth::http::router(Arc::clone(&service));
            life.spawn(runtime::http::serve(listener, router, life.clone()));
        }
        Ok(service)
    }

    fn start_notification(
        &self,
        settings: &ServeSettings,
        data: &DataDir,
        life: &Lifecycle,
        metrics: &Metrics,
    ) -> Result<(), StackError> {
        let mail = settings.mail(data);
        let public_url = match &settings.public_url {
            Some(url) => url.clone(),
            None => {
                let address = self.gateway.unwrap_or(settings.listen);
                // "Every address of this machine" is no address to paste: then the original's name has to do.
                let host = if address.ip().is_unspecified() {
                    "mp3converter.com".to_owned()
                } else {
                    address.to_string()
                };
                format!("http://{host}")
                    .parse()
                    .map_err(|_| StackError::Setting(format!("no URL: {address}")))?
            }
        };
        let notification = Notification {
            jobs: Arc::clone(&self.jobs),
            blobs: Arc::clone(&self.blobs),
            queue: Arc::clone(&self.queue),
            mp3_queue: settings.gateway.mp3_queue.clone(),
            others_may_tell: settings.stores.queue_url.scheme() != "memory",
            mailer: mail.mailer().map_err(StackError::Setting)?,
            letterhead: mail.letterhead(&public_url).map_err(StackError::Setting)?,
        };
        notification.start(life, metrics);
        Ok(())
    }

    /// Opens the operations port: where it was asked for, or at its usual place if that happens to be free.
    async fn open_operations_port(
        &mut self,
        asked: Option<SocketAddr>,
        readiness: Readiness,
        metrics: &Metrics,
        life: &Lifecycle,
    ) -> Result<(), StackError> {
        let address = asked.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9090)));
        match probes::serve(address, readiness, metrics.clone(), life).await {
            Ok(address) => self.operations = Some(address),
            Err(error) if asked.is_none() => {
                tracing::info!(%address, %error, "the operations port is taken; set MP3_OPS_LISTEN to have one");
            }
            Err(source) => return Err(ListenError::of("MP3_OPS_LISTEN", address)(source).into()),
        }
        Ok(())
    }
}
