//! The worker on a broker that takes deliveries back.

use std::sync::atomic::Ordering;

use domain::{JobMessage, JobState, VIDEO_QUEUE};
use testkit::HANG;
use testkit::servers::{QueueState, RabbitMqHome};

use crate::worker::{Act, Bench};

/// How long a delivery may be held, and how often the broker looks, in milliseconds.
const CONSUMER_TIMEOUT: (u32, u32) = (10_000, 500);

#[tokio::test]
async fn a_job_that_takes_longer_than_a_delivery_may_be_held_is_done_once_and_the_worker_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let home = RabbitMqHome::prepare(directory.path()).unwrap();
    let (timeout, look_every) = CONSUMER_TIMEOUT;
    let settings = directory.path().join("advanced.config");
    let advanced = format!(
        "[{{rabbit, [{{quorum_tick_interval, 500}}, {{consumer_timeout, {timeout}}}, \
         {{channel_tick_interval, {look_every}}}]}}].\n"
    );
    std::fs::write(settings, advanced).unwrap();
    let broker = Box::pin(home.start()).await.unwrap();
    let management = broker.management("/").unwrap();

    let mut bench = Bench::new(Act::ConvertLater, &[]);
    bench.queue = adapters::queue::connect(&broker.url().parse().unwrap()).unwrap();
    bench.start();
    let message = |video_fid| JobMessage {
        video_fid,
        mp3_fid: None,
        username: "ada@example.com".parse().unwrap(),
        trace: None,
    };
    let id = bench.queued_job().await;
    bench.queue.publish(VIDEO_QUEUE, &message(id)).await.unwrap();
    let begun = tokio::time::timeout(HANG, bench.handler.begun.notified());
    begun.await.expect("the job was never begun");
    // The copy that the broker gives out again finds the job held, and is settled.
    let held = |queue: &QueueState| queue.messages_unacknowledged == 1;
    management.queue_when(VIDEO_QUEUE, held).await.unwrap();
    let settled = |queue: &QueueState| queue.messages == 0 && queue.consumers == 1;
    management.queue_when(VIDEO_QUEUE, settled).await.unwrap();
    bench.handler.go_on.notify_one();
    bench.reaches(id, JobState::Done).await;
    assert_eq!(bench.handler.handled.load(Ordering::SeqCst), 1);

    let next = bench.queued_job().await;
    bench.handler.go_on.notify_one();
    bench.queue.publish(VIDEO_QUEUE, &message(next)).await.unwrap();
    bench.reaches(next, JobState::Done).await;
    management.queue_when(VIDEO_QUEUE, settled).await.unwrap();
    bench.life.shut_down(HANG).await;
}
