//! A RabbitMQ of the test's own that is away, comes, restarts and runs out of memory.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use domain::{PortError, Queue, VIDEO_QUEUE};
use serde_json::json;
use testkit::conformance::queue::{message, next};
use testkit::servers::{QueueState, RabbitMqHome};
use testkit::until;
use tokio::time::timeout;

use super::broker::publish_in_the_end;
use super::connect;

/// What a publication may take at the most, and then some for a busy machine.
const BOUND: Duration = Duration::from_secs(15);
/// How long a broker may take to start and start again.
const BOOT: Duration = Duration::from_secs(300);

async fn publish_and_fail(queue: &dyn Queue) {
    let published = timeout(BOUND, queue.publish(VIDEO_QUEUE, &message())).await;
    let error = published.expect("ends in time").unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
}

async fn ping_when(queue: &dyn Queue, ok: bool) {
    until("the ping tells the truth", async || {
        (queue.ping().await.is_ok() == ok).then_some(())
    })
    .await;
}

/// Adds what `rabbit/rabbitmq.conf` says, less the definitions: the queues come into being by themselves here.
fn configure_as_deployed(directory: &Path) {
    let deployed = include_str!("../../../../../rabbit/rabbitmq.conf");
    let deployed = deployed.replace("\nload_definitions = ", "\n# load_definitions = ");
    rewrite(directory, |settings| settings + &deployed);
}

/// From its next start on the broker is always out of memory.
fn always_out_of_memory(directory: &Path) {
    rewrite(directory, |settings| {
        settings.replace(
            "\nvm_memory_high_watermark.absolute = 480MB\n",
            "\nvm_memory_high_watermark.absolute = 1\n",
        )
    });
}

fn rewrite(directory: &Path, change: impl FnOnce(String) -> String) {
    let path = directory.join("rabbitmq.conf");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, change(settings)).unwrap();
}

#[tokio::test]
async fn a_broker_that_is_away_restarts_or_runs_out_of_memory_is_lived_with() {
    let directory = tempfile::tempdir().unwrap();
    let home = RabbitMqHome::prepare(directory.path()).unwrap();
    configure_as_deployed(directory.path());
    let queue = connect(&home.url().parse().unwrap());
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);

    // Away at the start: nothing hangs, nothing ends.
    publish_and_fail(&*queue).await;
    assert!(queue.ping().await.is_err());
    let kept = message();
    let waiting = async { timeout(BOOT, consumer.next()).await.expect("a message arrives") };
    let arrival = async {
        let broker = home.start().await.unwrap();
        ping_when(&*queue, true).await;
        publish_in_the_end(&*queue, VIDEO_QUEUE, &kept).await;
        broker
    };
    let (held, mut broker) = tokio::join!(waiting, arrival);
    assert_eq!(held.message, Ok(kept.clone()));

    // Gone with a delivery out: the broker has it back, and it survives.
    broker.stop().await.unwrap();
    always_out_of_memory(directory.path());
    broker.restart().await.unwrap();
    held.ack().await;

    // Out of memory: deliveries and acknowledgements go on, publishing ends with a clear word.
    let held = next(&mut *consumer).await;
    assert_eq!(held.message, Ok(kept.clone()));
    publish_and_fail(&*queue).await;
    ping_when(&*queue, false).await;
    publish_and_fail(&*queue).await;
    held.ack().await;
    drop(consumer);

    // Acknowledged, so gone; what was refused above may have arrived all the same.
    let management = broker.management("/").unwrap();
    let given_back = |queue: &QueueState| queue.consumers == 0 && queue.messages_unacknowledged == 0;
    management.queue_when(VIDEO_QUEUE, given_back).await.unwrap();
    let id = kept.video_fid.to_string();
    for left in management.peek(VIDEO_QUEUE, 10).await.unwrap() {
        assert_ne!(left.properties["message_id"], id);
    }
}

#[tokio::test]
async fn what_the_broker_confirmed_survives_its_kill_and_old_deliveries_settle_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let home = RabbitMqHome::prepare(directory.path()).unwrap();
    let mut broker = home.start().await.unwrap();
    // A quorum queue on a single node of RabbitMQ 3.10 may be left without a leader by a kill.
    let classic = json!({ "x-queue-type": "classic" });
    let management = broker.management("/").unwrap();
    management.declare_queue(VIDEO_QUEUE, classic).await.unwrap();
    let queue = connect(&broker.url().parse().unwrap());
    let mut consumer = queue.consume(VIDEO_QUEUE, 20);
    let mut confirmed = BTreeSet::new();
    let mut held = Vec::new();
    for _ in 0..20 {
        let sent = message();
        publish_in_the_end(&*queue, VIDEO_QUEUE, &sent).await;
        confirmed.insert(sent.video_fid);
        held.push(next(&mut *consumer).await);
    }
    broker.kill();
    broker.restart().await.unwrap();

    let first = timeout(BOOT, consumer.next()).await.expect("the consumer is back");
    // Were these taken for acknowledgements of the new deliveries, the next broker would not have them.
    for old in held {
        old.ack().await;
    }
    drop((first, consumer));
    let mut consumer = queue.consume(VIDEO_QUEUE, 20);
    let mut received = BTreeSet::new();
    while received.len() < confirmed.len() {
        let delivery = next(&mut *consumer).await;
        received.insert(delivery.message.clone().unwrap().video_fid);
        delivery.ack().await;
    }
    assert_eq!(received, confirmed);
    let empty = |queue: &QueueState| queue.messages == 0;
    management.queue_when(VIDEO_QUEUE, empty).await.unwrap();
}
