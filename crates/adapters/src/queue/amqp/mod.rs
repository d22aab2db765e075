//! RabbitMQ, over AMQP 0-9-1.
//!
//! Two connections, one that publishes and one that consumes: a broker that runs out of memory or disk stops reading
//! from whoever publishes, and acknowledgements must get through all the same. Each connection is made when it is
//! first needed, and made again by its own supervisor for as long as the queue lives.
//!
//! ```text
//! publish -> Publisher -> a channel with confirms -> Link "publishing" -> broker
//! next    <- AmqpConsumer <- a channel with prefetch <- Link "consuming" <- broker
//!                          both: topology::ensure, when a channel is made
//! ```

mod address;
mod consumer;
mod error;
mod link;
mod publisher;
mod topology;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{BackendUrl, Consumer, JobMessage, Pool, PortError, Queue};

use self::consumer::AmqpConsumer;
use self::link::Link;
use self::publisher::Publisher;
use self::topology::Topology;
use crate::ConnectError;

pub use topology::{DEAD_LETTER_EXCHANGE, DELIVERY_LIMIT};

/// The RabbitMQ [`Queue`], 3.10 and later.
///
/// Publishes persistent, mandatory and confirmed, one message in flight per channel. Declares what is missing; a queue
/// of that name with other arguments is used as it is, with one warning.
pub struct AmqpQueue {
    publisher: Publisher,
    consuming: Arc<Link>,
    topology: Arc<Topology>,
}

impl AmqpQueue {
    /// A queue at that URL, `amqp:` or `amqps:`. Connects when it is first used.
    ///
    /// `heartbeat`, `connection_timeout` and `frame_max` may be set in the URL's query as RabbitMQ's clients know them;
    /// they default to 10 seconds, 3000 milliseconds and 32 KiB.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(url: &BackendUrl) -> Result<Self, ConnectError> {
        let uri = address::parse(url)?;
        let topology = Arc::new(Topology::default());
        let publishing = Arc::new(Link::new(url, uri.clone(), "publishing"));
        let consuming = Arc::new(Link::new(url, uri, "consuming"));
        #[cfg(feature = "seeded-bugs")]
        let consuming = if domain::seeded_bugs::is_on("shared-connection") {
            Arc::clone(&publishing)
        } else {
            consuming
        };
        Ok(Self {
            publisher: Publisher::new(publishing, Arc::clone(&topology)),
            consuming,
            topology,
        })
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn publish(&self, queue: &str, message: &JobMessage) -> Result<(), PortError> {
        self.publisher
            .publish(queue, message)
            .await
            .map_err(|error| PortError::unavailable(format!("publish to `{queue}`"), error))
    }

    fn consume(&self, queue: &str, prefetch: u16) -> Box<dyn Consumer> {
        Box::new(AmqpConsumer::new(
            Arc::clone(&self.consuming),
            Arc::clone(&self.topology),
            queue,
            prefetch,
        ))
    }

    async fn depth(&self, queue: &str) -> Result<u64, PortError> {
        topology::depth(&self.consuming, queue)
            .await
            .map_err(|error| PortError::unavailable(format!("measure `{queue}`"), error))
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.publisher
            .ping()
            .await
            .map_err(|error| PortError::unavailable("reach RabbitMQ", error))
    }

    fn pool(&self) -> Option<Pool> {
        Some(self.publisher.pool())
    }
}
