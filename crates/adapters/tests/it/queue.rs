//! Queues: the suites against both adapters, and what RabbitMQ does to its clients.

#![expect(clippy::unwrap_used, reason = "the steps tests share fail as tests do: by panicking")]

mod broker;
mod deployed;
mod management;
mod outage;
mod warnings;

use std::sync::Arc;

use adapters::queue;
use domain::{BackendUrl, Queue};
use testkit::conformance::queue as conformance;
use testkit::servers::amqp_vhost;

fn connect(url: &BackendUrl) -> Arc<dyn Queue> {
    queue::connect(url).unwrap()
}

#[tokio::test]
async fn the_memory_queue_wakes_up() {
    conformance::wake_up(connect(&"memory:".parse().unwrap())).await;
}

#[tokio::test]
async fn rabbitmq_wakes_up() {
    conformance::wake_up(connect(&amqp_vhost().await.url)).await;
}

#[tokio::test]
async fn rabbitmq_keeps_what_a_broker_keeps() {
    conformance::broker(connect(&amqp_vhost().await.url)).await;
}
