//! Queues: a wake-up signal inside the process, or RabbitMQ.

mod amqp;
mod memory;

use std::sync::Arc;

use domain::{BackendUrl, Queue};

use crate::ConnectError;

pub use amqp::{AmqpQueue, DEAD_LETTER_EXCHANGE, DELIVERY_LIMIT};
pub use memory::MemoryQueue;

/// Makes the queue its URL names: `memory:`, `amqp:` or `amqps:`.
///
/// Connects to nothing yet. Each call gives a queue of its own, so what shares a `memory:` queue must share the `Arc`.
///
/// # Errors
/// Another scheme, or an AMQP URL that cannot be read.
pub fn connect(url: &BackendUrl) -> Result<Arc<dyn Queue>, ConnectError> {
    match url.scheme() {
        "memory" => Ok(Arc::new(MemoryQueue::default())),
        "amqp" | "amqps" => Ok(Arc::new(AmqpQueue::new(url)?)),
        scheme => Err(ConnectError::UnknownScheme {
            port: "QUEUE_URL",
            scheme: scheme.to_owned(),
            expected: "`memory:`, `amqp:` or `amqps:`",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_is_refused_by_name() {
        let url: BackendUrl = "redis://localhost".parse().unwrap();
        let error = connect(&url).err().unwrap();
        assert_eq!(
            error.to_string(),
            "QUEUE_URL: unknown scheme `redis:`, expected `memory:`, `amqp:` or `amqps:`"
        );
    }
}
