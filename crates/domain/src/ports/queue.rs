//! Who wakes the workers.

use async_trait::async_trait;

use crate::{JobMessage, Pool, PortError};

/// Named queues of [`JobMessage`]s: RabbitMQ, or a wake-up signal in the same process.
///
/// Losing a message costs time, never a job: the job store schedules. So the in-process queue may drop messages, and
/// an outage of the broker is *degraded*, not down.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Hands a message over; returns when the broker has it on disk (publisher confirm, and a queue took it).
    ///
    /// # Errors
    /// `Unavailable`, at the latest after ten seconds. The message may have arrived all the same.
    async fn publish(&self, queue: &str, message: &JobMessage) -> Result<(), PortError>;

    /// Takes messages, at most `prefetch` unsettled at a time. Needs no connection to begin with: the consumer
    /// connects, declares the queue and reconnects by itself for as long as it lives.
    fn consume(&self, queue: &str, prefetch: u16) -> Box<dyn Consumer>;

    /// How many messages wait in a queue, those that are delivered and not settled left out.
    ///
    /// # Errors
    /// `Unavailable`, at the latest after ten seconds; also when there is no such queue.
    async fn depth(&self, queue: &str) -> Result<u64, PortError>;

    /// Whether the broker could take a message now. `Err` is *degraded*.
    async fn ping(&self) -> Result<(), PortError>;

    /// How busy the way to it is; None where there is no bound that could be reached.
    fn pool(&self) -> Option<Pool> {
        None
    }
}

/// The receiving end of one queue.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; waits for as long as there is none or the broker is away. Dropping the future loses
    /// nothing.
    async fn next(&mut self) -> Delivery;
}

/// One message to settle, by [`ack`](Self::ack) or [`reject`](Self::reject). Unsettled, it comes back.
pub struct Delivery {
    /// The message, or the bytes that could not be read as one.
    pub message: Result<JobMessage, Vec<u8>>,
    settler: Box<dyn Settler>,
}

impl Delivery {
    /// A delivery whose body is `body`, settled through `settler`.
    pub fn new(body: &[u8], settler: Box<dyn Settler>) -> Self {
        Self {
            message: serde_json::from_slice(body).map_err(|_| body.to_vec()),
            settler,
        }
    }

    /// The message is dealt with. A broker that took the delivery back in the meantime does not matter.
    pub async fn ack(self) {
        self.settler.ack().await;
    }

    /// The message cannot be read: to the dead-letter queue, where the queue has one.
    pub async fn reject(self) {
        self.settler.reject().await;
    }
}

/// How an adapter settles a delivery. Failing to settle is logged by the adapter; the message then comes back.
#[async_trait]
pub trait Settler: Send + Sync {
    /// Removes the message from the queue.
    async fn ack(self: Box<Self>);
    /// Removes it for good, to the dead-letter queue.
    async fn reject(self: Box<Self>);
}
