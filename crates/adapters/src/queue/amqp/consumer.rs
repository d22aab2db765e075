//! Taking messages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Consumer, Delivery, Settler, TraceParent};
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, BasicProperties, Channel};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::error::{AmqpError, soft_error};
use super::link::Link;
use super::topology::Topology;

/// The longest body that is looked at; a message of ours has about 120 bytes.
const MAX_BODY_BYTES: usize = 4096;
/// How long one try to declare the queue and subscribe to it may take, once there is a connection.
const SUBSCRIBE_DEADLINE: Duration = Duration::from_secs(30);
/// The wait after a try that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an acknowledgement may take to be sent.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// The receiving end of one queue: a subscription that is made again whenever it is lost.
pub(super) struct AmqpConsumer {
    source: Arc<Source>,
    state: State,
}

enum State {
    /// Between subscriptions. In a task of its own, so that dropping [`Consumer::next`] does not begin it anew.
    Subscribing(AbortOnDropHandle<Subscription>),
    Subscribed(Box<Subscription>),
    Lost,
}

/// What it takes to subscribe.
struct Source {
    link: Arc<Link>,
    topology: Arc<Topology>,
    queue: String,
    prefetch: u16,
}

/// Dropping it closes the channel, and the broker takes back what was delivered on it and not settled.
struct Subscription {
    deliveries: lapin::Consumer,
    _channel: Channel,
}

impl AmqpConsumer {
    pub(super) fn new(link: Arc<Link>, topology: Arc<Topology>, queue: &str, prefetch: u16) -> Self {
        Self {
            source: Arc::new(Source {
                link,
                topology,
                queue: queue.to_owned(),
                prefetch,
            }),
            state: State::Lost,
        }
    }

    fn lost(&self, error: Option<&lapin::Error>) {
        let queue = self.source.queue.as_str();
        match error {
            // The loss of the connection is told where connections are looked after.
            Some(error) if soft_error(error).is_none() => {
                tracing::debug!(
                    queue,
                    error = %domain::Chain(error),
                    "the consumer is lost with its connection"
                );
            }
            Some(error) => tracing::warn!(
                queue,
                error = %domain::Chain(error),
                "the broker closed the consumer's channel, subscribing again"
            ),
            // The broker says no more than this: the queue was deleted, or a delivery was held for too long.
            None => tracing::warn!(queue, "the broker cancelled the consumer, subscribing again"),
        }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            match &mut self.state {
                State::Lost => {
                    let subscribing = Arc::clone(&self.source).subscribe();
                    self.state = State::Subscribing(AbortOnDropHandle::new(tokio::spawn(subscribing)));
                }
                State::Subscribing(subscribing) => {
                    self.state = match subscribing.await {
                        Ok(subscription) => State::Subscribed(Box::new(subscription)),
                        Err(_) => State::Lost,
                    };
                }
                State::Subscribed(subscription) => match subscription.deliveries.next().await {
                    Some(Ok(delivery)) => return received(delivery),
                    Some(Err(error)) => {
                        self.lost(Some(&error));
                        self.state = State::Lost;
                    }
                    None => {
                        self.lost(None);
                        self.state = State::Lost;
                    }
                },
            }
        }
    }
}

impl Source {
    /// Subscribes, however long it takes.
    async fn subscribe(self: Arc<Self>) -> Subscription {
        let mut told: Option<String> = None;
        loop {
            let error = match self.try_subscribe().await {
                Ok(subscription) => {
                    tracing::info!(queue = self.queue, "waiting for messages");
                    return subscription;
                }
                Err(error) => error,
            };
            let text = error.to_string();
            if told.as_ref() != Some(&text) {
                tracing::warn!(
                    queue = self.queue,
                    error = %domain::Chain(&error),
                    "cannot subscribe, trying on"
                );
                told = Some(text);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_subscribe(&self) -> Result<Subscription, AmqpError> {
        let channel = self.link.channel().await?;
        let subscribing = async {
            self.topology.ensure(&self.link, &self.queue).await?;
            // Per consumer: quorum queues know no limit per channel.
            channel
                .basic_qos(self.prefetch.max(1), BasicQosOptions { global: false })
                .await?;
            let deliveries = channel
                .basic_consume(
                    self.queue.as_str().into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            Ok(deliveries)
        };
        match timeout(SUBSCRIBE_DEADLINE, subscribing).await {
            Ok(subscribed) => subscribed.map(|deliveries| Subscription {
                deliveries,
                _channel: channel,
            }),
            Err(_) => Err(AmqpError::Deadline {
                seconds: SUBSCRIBE_DEADLINE.as_secs(),
            }),
        }
    }
}

fn received(delivery: lapin::message::Delivery) -> Delivery {
    let trace = trace(&delivery.properties);
    let settler = Box::new(AmqpSettler {
        acker: Some(delivery.acker),
    });
    if delivery.data.len() <= MAX_BODY_BYTES {
        let mut received = Delivery::new(&delivery.data, settler);
        if let Ok(message) = &mut received.message {
            message.trace = trace;
        }
        return received;
    }
    let mut unreadable = Delivery::new(&[], settler);
    unreadable.message = Err(delivery.data);
    unreadable
}

/// The trace that a message says it belongs to, ours or a foreign service's.
fn trace(properties: &BasicProperties) -> Option<TraceParent> {
    let text = match properties.headers().as_ref()?.inner().get(TraceParent::HEADER)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?,
        AMQPValue::ShortString(text) => text.as_str(),
        _ => return None,
    };
    text.parse().ok()
}

/// Settles a delivery on the channel it came on. Once that channel is lost the broker has taken the delivery back, and
/// settling does nothing.
struct AmqpSettler {
    acker: Option<Acker>,
}

impl AmqpSettler {
    async fn settle(mut self: Box<Self>, verb: &'static str, settle: impl AsyncFnOnce(&Acker) -> lapin::Result<bool>) {
        let Some(acker) = self.acker.take() else {
            return;
        };
        match timeout(SETTLE_DEADLINE, settle(&acker)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => tracing::debug!(verb, "the broker has taken the delivery back already"),
            Ok(Err(error)) => tracing::debug!(
                verb,
                error = %domain::Chain(&error),
                "cannot settle the delivery, it comes back"
            ),
            Err(_) => tracing::debug!(verb, "cannot settle the delivery in time, it comes back"),
        }
    }
}

#[async_trait]
impl Settler for AmqpSettler {
    async fn ack(self: Box<Self>) {
        self.settle("ack", async |acker| acker.ack(BasicAckOptions::default()).await)
            .await;
    }

    async fn reject(self: Box<Self>) {
        let for_good = BasicRejectOptions { requeue: false };
        self.settle("reject", async move |acker| acker.reject(for_good).await)
            .await;
    }
}

impl Drop for AmqpSettler {
    /// A delivery that is dropped unsettled goes back at once, rather than when its channel ends.
    fn drop(&mut self) {
        let Some(acker) = self.acker.take().filter(Acker::usable) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let back = BasicNackOptions {
                requeue: true,
                ..BasicNackOptions::default()
            };
            if let Err(error) = acker.nack(back).await {
                tracing::debug!(
                    error = %domain::Chain(&error),
                    "cannot give the delivery back, it comes back with its channel"
                );
            }
        });
    }
}
