//! What goes wrong between us and the broker.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Why a message was not handed over, or a queue not declared.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AmqpError {
    /// The driver's error, or the broker's through it.
    #[error(transparent)]
    Driver(#[from] lapin::Error),
    /// The last attempt to connect failed, and the next is due.
    #[error("not connected to the broker")]
    Away(#[source] lapin::Error),
    /// No attempt to connect has ended yet.
    #[error("no connection to the broker yet")]
    Connecting,
    /// The broker runs out of memory or disk and takes no messages.
    #[error("the broker takes no messages until it has memory and disk again")]
    Blocked,
    /// No queue took the message.
    #[error("no queue took the message: {code} {text}")]
    Unroutable { code: u16, text: String },
    /// A queue refused the message: it is full, or has lost its quorum.
    #[error("the queue refused the message")]
    Refused,
    /// The broker does not confirm.
    #[error("the broker does not confirm messages")]
    Unconfirmed,
    /// No answer within the deadline.
    #[error("no answer within {seconds} seconds")]
    Deadline { seconds: u64 },
    /// A message cannot be written as JSON.
    #[error("cannot write the message")]
    Body(#[source] std::sync::Arc<serde_json::Error>),
}

impl AmqpError {
    /// The broker is away or takes no messages: no use to try again at once.
    pub(super) const fn is_outage(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Connecting | Self::Blocked)
    }
}

/// The broker's reason for closing a channel, if that is what `error` is.
pub(super) fn soft_error(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}
