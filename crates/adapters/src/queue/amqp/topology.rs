//! Which queues there are, and how they come into being.
//!
//! A queue of ours is durable, replicated where the broker has several nodes, and keeps what cannot be read in a queue
//! of its own, beside it:
//!
//! ```text
//! (default exchange) -> video --rejected, or delivered too often--> jobs.dlx --video--> video.dead
//! (default exchange) -> mp3   --rejected, or delivered too often--> jobs.dlx --mp3----> mp3.dead
//! ```
//!
//! `rabbit/definitions.json` says the same; a test holds them together.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tokio::time::timeout;

use super::error::{AmqpError, soft_error};
use super::link::Link;

/// The exchange rejected messages go through, by the name of the queue they were rejected from.
pub const DEAD_LETTER_EXCHANGE: &str = "jobs.dlx";
/// How often a message may come back undone before it goes to the dead letters. Explicit, since RabbitMQ 3 has no
/// default. A job does not end with its message: the job store goes on scheduling it.
pub const DELIVERY_LIMIT: i64 = 20;

/// How long asking for a queue's depth may take.
const DEPTH_DEADLINE: Duration = Duration::from_secs(10);

/// Declares queues, and remembers which it has warned about.
#[derive(Default)]
pub(super) struct Topology {
    warned: Mutex<HashSet<String>>,
}

impl Topology {
    /// Sees to it that `queue` exists, as one of ours if it does not exist yet.
    ///
    /// Looks first: a user without the right to configure may use what exists. Every step has a channel of its own,
    /// because the broker closes the channel to say no.
    ///
    /// # Errors
    /// The queue is missing and cannot be declared, or the connection was lost.
    pub(super) async fn ensure(&self, link: &Link, queue: &str) -> Result<(), AmqpError> {
        if !exists(&link.channel().await?, queue).await? {
            self.ensure_dead_letters(link, queue).await?;
            declare(&link.channel().await?, queue, ours(queue)).await?;
            tracing::info!(queue, "declared the queue");
            return Ok(());
        }
        match declare(&link.channel().await?, queue, ours(queue)).await {
            Ok(()) => self.ensure_dead_letters(link, queue).await,
            Err(error) => self.tolerate(queue, error),
        }
    }

    /// Declares the exchange and the queue that rejected messages of `queue` go to.
    async fn ensure_dead_letters(&self, link: &Link, queue: &str) -> Result<(), AmqpError> {
        let dead = domain::dead_letter_queue(queue);
        if let Err(error) = declare(&link.channel().await?, &dead, quorum()).await {
            self.tolerate(&dead, error)?;
        }
        match bind_dead_letters(&link.channel().await?, queue, &dead).await {
            Ok(()) => Ok(()),
            Err(error) => self.tolerate(DEAD_LETTER_EXCHANGE, error),
        }
    }

    /// Lets pass that something exists with other arguments, or may not be declared by this user.
    fn tolerate(&self, name: &str, error: lapin::Error) -> Result<(), AmqpError> {
        match soft_error(&error) {
            Some(AMQPSoftError::PRECONDITIONFAILED) if self.first_warning(name) => {
                tracing::warn!(
                    queue = name,
                    difference = %error,
                    "the queue exists with other arguments and is used as it is: it may lack replication to other \
                     nodes, the limit of 20 deliveries, without which a message with headers above 32 KiB comes back for \
                     ever, and the dead letters, without which a message that cannot be read is dropped. To get all of \
                     them, delete the queue while it is empty"
                );
                Ok(())
            }
            Some(AMQPSoftError::PRECONDITIONFAILED) => Ok(()),
            Some(AMQPSoftError::ACCESSREFUSED) => {
                tracing::debug!(queue = name, "this user may not declare it");
                Ok(())
            }
            _ => Err(error.into()),
        }
    }

    fn first_warning(&self, name: &str) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.insert(name.to_owned())
    }
}

/// How many messages wait in `queue`, on a channel of its own: a queue that does not exist closes it.
pub(super) async fn depth(link: &Link, queue: &str) -> Result<u64, AmqpError> {
    let looking = async {
        let found = look(&link.channel().await?, queue).await?;
        Ok(found.message_count().into())
    };
    match timeout(DEPTH_DEADLINE, looking).await {
        Ok(depth) => depth,
        Err(_) => Err(AmqpError::Deadline {
            seconds: DEPTH_DEADLINE.as_secs(),
        }),
    }
}

async fn look(channel: &Channel, queue: &str) -> lapin::Result<lapin::Queue> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
}

async fn exists(channel: &Channel, queue: &str) -> Result<bool, AmqpError> {
    match look(channel, queue).await {
        Ok(_) => Ok(true),
        Err(error) => match soft_error(&error) {
            Some(AMQPSoftError::NOTFOUND) => Ok(false),
            _ => Err(error.into()),
        },
    }
}

async fn declare(channel: &Channel, queue: &str, arguments: FieldTable) -> lapin::Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.into(), durable, arguments).await.map(drop)
}

async fn bind_dead_letters(channel: &Channel, queue: &str, dead: &str) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            DEAD_LETTER_EXCHANGE.into(),
            ExchangeKind::Direct,
            durable,
            FieldTable::default(),
        )
        .await?;
    channel
        .queue_bind(
            dead.into(),
            DEAD_LETTER_EXCHANGE.into(),
            queue.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

/// The arguments of a dead-letter queue.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

/// The arguments of a queue of ours. Every one is explicit, so that RabbitMQ 3.10 to 4.3 behave alike.
///
/// Source: <https://www.rabbitmq.com/docs/quorum-queues>, "dead lettering": `at-least-once` needs `reject-publish`.
fn ours(queue: &str) -> FieldTable {
    let mut arguments = quorum();
    arguments
        .insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT))
        .insert("x-dead-letter-exchange".into(), text(DEAD_LETTER_EXCHANGE))
        .insert("x-dead-letter-routing-key".into(), text(queue))
        .insert("x-dead-letter-strategy".into(), text("at-least-once"))
        .insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
