//! One supervised connection.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::BackendUrl;
use futures_util::StreamExt as _;
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::error::AmqpError;

/// The wait after the first failed attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest wait between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that lived this long ends a row of failed ones.
const STABLE: Duration = Duration::from_secs(5);
/// How long the broker may take to greet us. Generous: an attempt that is given up cannot be interrupted, and holds
/// its socket until the broker answers or closes it.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How often the connection is looked at beside its events, which leave out some ways to end.
const LOOK: Duration = Duration::from_millis(500);

/// A connection that comes back by itself. Made at first use; closed when the link is dropped.
pub(super) struct Link {
    shown: String,
    uri: AMQPUri,
    purpose: &'static str,
    state: watch::Sender<State>,
    supervisor: OnceLock<AbortHandle>,
}

/// What the supervisor knows.
#[derive(Clone)]
enum State {
    /// No attempt has ended since the start or the last loss.
    Connecting,
    /// The last attempt failed.
    Away(lapin::Error),
    /// Connected; `blocked` while the broker takes no messages.
    Up { connection: Arc<Connection>, blocked: bool },
}

impl Link {
    /// A link that is not made yet. `purpose` tells the process's connections apart on the management page.
    pub(super) fn new(url: &BackendUrl, uri: AMQPUri, purpose: &'static str) -> Self {
        Self {
            shown: url.to_string(),
            uri,
            purpose,
            state: watch::Sender::new(State::Connecting),
            supervisor: OnceLock::new(),
        }
    }

    /// A new channel, as soon as there is a connection. Never fails for want of one: wait with a deadline.
    pub(super) async fn channel(&self) -> Result<Channel, AmqpError> {
        let mut state = self.watch();
        let connection = loop {
            if let State::Up { connection, .. } = &*state.borrow_and_update() {
                break Arc::clone(connection);
            }
            // The sender lives as long as `self`.
            if state.changed().await.is_err() {
                return Err(AmqpError::Connecting);
            }
        };
        Ok(connection.create_channel().await?)
    }

    /// Waits until a message could be sent, as long as an attempt to connect is under way.
    pub(super) async fn ready(&self) -> Result<(), AmqpError> {
        let mut state = self.watch();
        loop {
            match &*state.borrow_and_update() {
                State::Up { blocked: false, .. } => return Ok(()),
                State::Up { blocked: true, .. } => return Err(AmqpError::Blocked),
                State::Away(error) => return Err(AmqpError::Away(error.clone())),
                State::Connecting => {}
            }
            if state.changed().await.is_err() {
                return Err(AmqpError::Connecting);
            }
        }
    }

    /// Ends when the broker stops taking messages on this connection.
    pub(super) async fn blocked(&self) {
        let mut state = self.watch();
        let blocked = state.wait_for(|state| matches!(state, State::Up { blocked: true, .. }));
        if blocked.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn watch(&self) -> watch::Receiver<State> {
        self.supervisor.get_or_init(|| {
            let supervisor = Supervisor {
                shown: self.shown.clone(),
                uri: self.uri.clone(),
                purpose: self.purpose,
                state: self.state.clone(),
            };
            tokio::spawn(supervisor.run()).abort_handle()
        });
        self.state.subscribe()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.abort();
        }
    }
}

struct Supervisor {
    shown: String,
    uri: AMQPUri,
    purpose: &'static str,
    state: watch::Sender<State>,
}

impl Supervisor {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut told: Option<String> = None;
        loop {
            match self.open().await {
                Ok(connection) => {
                    told = None;
                    tracing::info!(broker = %self.shown, purpose = self.purpose, "connected to RabbitMQ");
                    let since = Instant::now();
                    self.attend(Arc::new(connection)).await;
                    self.state.send_replace(State::Connecting);
                    tracing::warn!(broker = %self.shown, purpose = self.purpose, "lost RabbitMQ, connecting again");
                    if since.elapsed() >= STABLE {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(error) => {
                    // Once per reason, not once per attempt.
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        tracing::warn!(
                            broker = %self.shown,
                            purpose = self.purpose,
                            error = %domain::Chain(&error),
                            "RabbitMQ is away, waiting for it"
                        );
                        told = Some(text);
                    }
                    self.state.send_replace(State::Away(error));
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn open(&self) -> lapin::Result<Connection> {
        let patience = Duration::from_millis(self.uri.query.connection_timeout.unwrap_or(3000));
        let attempt = Connection::connector(
            self.uri.clone(),
            lapin::runtime::default_runtime()?,
            // The driver's own way to connect has no time limit.
            async move |uri: AMQPUri, runtime| {
                let connect = uri.connect_async(&runtime);
                match timeout(patience, connect).await {
                    Ok(connected) => connected.map_err(lapin::Error::from),
                    Err(_) => Err(timed_out("the broker does not accept the connection")),
                }
            },
            ConnectionProperties::default().with_connection_name(self.name().into()),
        );
        match timeout(patience + HANDSHAKE, attempt).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out("the broker does not answer")),
        }
    }

    /// Keeps the state of a connection up to date until it is lost.
    async fn attend(&self, connection: Arc<Connection>) {
        let mut events = std::pin::pin!(connection.events_listener());
        let up = |blocked| State::Up {
            connection: Arc::clone(&connection),
            blocked,
        };
        self.state.send_replace(up(false));
        while connection.status().connected() {
            match timeout(LOOK, events.next()).await {
                Ok(Some(Event::ConnectionBlocked(reason))) => {
                    tracing::warn!(broker = %self.shown, reason, "RabbitMQ takes no messages now");
                    self.state.send_replace(up(true));
                }
                Ok(Some(Event::ConnectionUnblocked)) => {
                    tracing::info!(broker = %self.shown, "RabbitMQ takes messages again");
                    self.state.send_replace(up(false));
                }
                Ok(Some(Event::Error(error))) => {
                    tracing::debug!(error = %domain::Chain(&error), "connection error");
                }
                Ok(None) => return,
                Ok(Some(_)) | Err(_) => {}
            }
        }
    }

    /// What the management page shows: which program, and what for.
    fn name(&self) -> String {
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
        format!("{} {}", program.as_deref().unwrap_or("mp3"), self.purpose)
    }
}

fn timed_out(what: &'static str) -> lapin::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, what).into()
}

/// Between half of `pause` and all of it, so that clients of a restarted broker do not come all at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = 500 + u32::try_from(random % 501).unwrap_or(500);
    pause * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_between_half_and_all() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_secs(2));
            assert!(pause >= Duration::from_secs(1) && pause <= Duration::from_secs(2));
        }
    }
}
