//! Handing messages over.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{JobMessage, Pool, TraceParent};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::AmqpError;
use super::link::Link;
use super::topology::Topology;

/// How long handing over may take, everything included.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a ping may wait for an attempt to connect that is under way.
const PING_DEADLINE: Duration = Duration::from_secs(2);
/// The waits after tries that failed.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(300),
    Duration::from_secs(1),
];
/// How many messages may be in flight: one per channel, because the driver gives a returned message to the wrong
/// publisher when there are several on one.
const CHANNELS: usize = 4;
/// AMQP's delivery mode of a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// The publishing end.
pub(super) struct Publisher {
    link: Arc<Link>,
    topology: Arc<Topology>,
    permits: Semaphore,
    /// Channels in confirm mode with nothing in flight. A channel is taken out to publish and only comes back after a
    /// clear answer, so one with an open question is never used again.
    idle: Mutex<Vec<Channel>>,
    /// The queues that were there when last looked.
    known: Mutex<HashSet<String>>,
}

impl Publisher {
    pub(super) fn new(link: Arc<Link>, topology: Arc<Topology>) -> Self {
        Self {
            link,
            topology,
            permits: Semaphore::new(CHANNELS),
            idle: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Returns when a queue has the message on disk. Fails at once while the broker is away or takes no messages.
    pub(super) async fn publish(&self, queue: &str, message: &JobMessage) -> Result<(), AmqpError> {
        let body = serde_json::to_vec(message).map_err(|error| AmqpError::Body(error.into()))?;
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_message_id(message.video_fid.to_string().into())
            .with_headers(headers(message));
        let handing_over = async {
            tokio::select! {
                handed_over = self.try_on(queue, &body, &properties) => handed_over,
                () = self.link.blocked() => Err(AmqpError::Blocked),
            }
        };
        match timeout(DEADLINE, handing_over).await {
            Ok(result) => result,
            Err(_) => Err(AmqpError::Deadline {
                seconds: DEADLINE.as_secs(),
            }),
        }
    }

    /// The channels that messages are handed over on.
    pub(super) fn pool(&self) -> Pool {
        crate::places_of(&self.permits, CHANNELS)
    }

    /// Whether a message could be sent now.
    pub(super) async fn ping(&self) -> Result<(), AmqpError> {
        match timeout(PING_DEADLINE, self.link.ready()).await {
            Ok(ready) => ready,
            Err(_) => Err(AmqpError::Connecting),
        }
    }

    /// A failure may only mean that the queue or the connection is gone since last time, or that a queue was declared a
    /// moment ago by somebody else and has no leader yet.
    async fn try_on(&self, queue: &str, body: &[u8], properties: &BasicProperties) -> Result<(), AmqpError> {
        for pause in PAUSES {
            match self.try_once(queue, body, properties).await {
                Err(error) if !error.is_outage() => {
                    tracing::debug!(queue, error = %domain::Chain(&error), "publishing failed");
                    lock(&self.known).remove(queue);
                }
                ended => return ended,
            }
            tokio::time::sleep(pause).await;
        }
        self.try_once(queue, body, properties).await
    }

    async fn try_once(&self, queue: &str, body: &[u8], properties: &BasicProperties) -> Result<(), AmqpError> {
        self.link.ready().await?;
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(AmqpError::Connecting);
        };
        if !lock(&self.known).contains(queue) {
            self.topology.ensure(&self.link, queue).await?;
            lock(&self.known).insert(queue.to_owned());
        }
        let channel = self.channel().await?;
        // Unroutable messages come back instead of being dropped and confirmed.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirmation = channel
            .basic_publish("".into(), queue.into(), options, body, properties.clone())
            .await?
            .await?;
        lock(&self.idle).push(channel);
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => Err(AmqpError::Unroutable {
                code: returned.reply_code,
                text: returned.reply_text.to_string(),
            }),
            Confirmation::Nack(None) => Err(AmqpError::Refused),
            #[cfg(feature = "seeded-bugs")]
            Confirmation::NotRequested if domain::seeded_bugs::is_on("confirm-off") => Ok(()),
            Confirmation::NotRequested => Err(AmqpError::Unconfirmed),
        }
    }

    async fn channel(&self) -> Result<Channel, AmqpError> {
        let idle = {
            let mut idle = lock(&self.idle);
            idle.retain(|channel| channel.status().connected());
            idle.pop()
        };
        if let Some(channel) = idle {
            return Ok(channel);
        }
        let channel = self.link.channel().await?;
        #[cfg(feature = "seeded-bugs")]
        if domain::seeded_bugs::is_on("confirm-off") {
            return Ok(channel);
        }
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }
}

/// What goes beside the body, which is the original system's to the letter.
fn headers(message: &JobMessage) -> FieldTable {
    let mut headers = FieldTable::default();
    if let Some(trace) = &message.trace {
        headers.insert(TraceParent::HEADER.into(), AMQPValue::LongString(trace.as_str().into()));
    }
    headers
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
