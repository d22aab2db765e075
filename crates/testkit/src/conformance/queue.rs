//! What any [`Queue`] keeps, and what a broker keeps beyond it.
//!
//! The in-process queue is a wake-up signal: it answers to [`wake_up`] alone. A broker answers to [`wake_up`] and to
//! [`broker`].

use std::sync::Arc;
use std::time::Duration;

use domain::{Consumer, Delivery, Fid, JobMessage, Queue};

/// How long something that must happen may take before the test is given up.
const HANG_GUARD: Duration = Duration::from_secs(60);
const QUEUE: &str = "conformance";

/// A message about a new job.
pub fn message() -> JobMessage {
    JobMessage {
        video_fid: Fid::new(),
        mp3_fid: None,
        username: "Ada@example.com".parse().expect("a constant valid address"),
        trace: Some(super::jobs::trace()),
    }
}

/// The next delivery.
///
/// # Panics
/// When none arrives within a minute.
pub async fn next(consumer: &mut dyn Consumer) -> Delivery {
    tokio::time::timeout(HANG_GUARD, consumer.next())
        .await
        .expect("a message arrives")
}

/// What every queue keeps.
pub async fn wake_up(queue: Arc<dyn Queue>) {
    a_publication_wakes_whoever_waits(&queue).await;
    a_consumer_hears_its_own_queue_only(&queue).await;
    a_wait_that_is_dropped_loses_nothing(&queue).await;
    what_waits_is_counted(&queue).await;
    queue.ping().await.expect("the queue takes messages");
}

async fn a_publication_wakes_whoever_waits(queue: &Arc<dyn Queue>) {
    let mut consumer = queue.consume(QUEUE, 1);
    let sent = message();
    let (delivery, ()) = tokio::join!(biased; next(&mut *consumer), publish(queue, QUEUE, &sent));
    assert_eq!(delivery.message, Ok(sent));
    delivery.ack().await;
}

async fn a_consumer_hears_its_own_queue_only(queue: &Arc<dyn Queue>) {
    let mut one = queue.consume("conformance.one", 1);
    let mut other = queue.consume("conformance.other", 1);
    let (to_one, to_other) = (message(), message());
    let (from_one, from_other, (), ()) = tokio::join!(
        biased;
        next(&mut *one),
        next(&mut *other),
        publish(queue, "conformance.other", &to_other),
        publish(queue, "conformance.one", &to_one)
    );
    assert_eq!(from_one.message, Ok(to_one));
    assert_eq!(from_other.message, Ok(to_other));
    from_one.ack().await;
    from_other.ack().await;
}

async fn what_waits_is_counted(queue: &Arc<dyn Queue>) {
    const UNHEARD: &str = "conformance.unheard";
    for _ in 0..2 {
        publish(queue, UNHEARD, &message()).await;
    }
    // A broker counts a moment after it has confirmed.
    let counted = async {
        while queue.depth(UNHEARD).await.expect("the queue is there") != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG_GUARD, counted)
        .await
        .expect("two messages wait");
}

async fn a_wait_that_is_dropped_loses_nothing(queue: &Arc<dyn Queue>) {
    let mut consumer = queue.consume(QUEUE, 1);
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = consumer.next() => panic!("nothing was published"),
            () = tokio::task::yield_now() => {}
        }
    }
    let sent = message();
    publish(queue, QUEUE, &sent).await;
    let delivery = next(&mut *consumer).await;
    assert_eq!(delivery.message, Ok(sent));
    delivery.ack().await;
}

/// What a broker keeps beyond [`wake_up`]: no message is lost, and none is delivered again once it is settled.
pub async fn broker(queue: Arc<dyn Queue>) {
    a_message_waits_for_whoever_comes_later(&queue).await;
    an_acknowledged_message_is_gone(&queue).await;
    a_delivery_dropped_unsettled_comes_back(&queue).await;
    an_unsettled_delivery_comes_back_when_its_consumer_is_dropped(&queue).await;
    a_consumer_takes_no_more_than_its_prefetch(&queue).await;
}

async fn a_message_waits_for_whoever_comes_later(queue: &Arc<dyn Queue>) {
    let sent = message();
    publish(queue, QUEUE, &sent).await;
    assert_eq!(take(queue, QUEUE).await, sent);
}

async fn an_acknowledged_message_is_gone(queue: &Arc<dyn Queue>) {
    let (first, second) = (message(), message());
    publish(queue, QUEUE, &first).await;
    assert_eq!(take(queue, QUEUE).await, first);
    publish(queue, QUEUE, &second).await;
    // Were the first still there, it would come first.
    assert_eq!(take(queue, QUEUE).await, second);
}

async fn a_delivery_dropped_unsettled_comes_back(queue: &Arc<dyn Queue>) {
    let sent = message();
    publish(queue, QUEUE, &sent).await;
    let mut consumer = queue.consume(QUEUE, 1);
    drop(next(&mut *consumer).await);
    let again = next(&mut *consumer).await;
    assert_eq!(again.message, Ok(sent));
    again.ack().await;
}

async fn an_unsettled_delivery_comes_back_when_its_consumer_is_dropped(queue: &Arc<dyn Queue>) {
    let sent = message();
    publish(queue, QUEUE, &sent).await;
    let mut consumer = queue.consume(QUEUE, 1);
    let held = next(&mut *consumer).await;
    drop(consumer);

    let mut consumer = queue.consume(QUEUE, 1);
    let again = next(&mut *consumer).await;
    assert_eq!(again.message, Ok(sent.clone()));
    // Too late: the broker took that delivery back, and nothing else may be settled in its place.
    held.ack().await;
    drop(again);
    let once_more = next(&mut *consumer).await;
    assert_eq!(once_more.message, Ok(sent));
    once_more.ack().await;
}

async fn a_consumer_takes_no_more_than_its_prefetch(queue: &Arc<dyn Queue>) {
    let mut greedy = queue.consume(QUEUE, 1);
    let (first, second) = (message(), message());
    publish(queue, QUEUE, &first).await;
    let held = next(&mut *greedy).await;
    assert_eq!(held.message, Ok(first));
    publish(queue, QUEUE, &second).await;
    assert_eq!(take(queue, QUEUE).await, second);
    held.ack().await;
}

async fn publish(queue: &Arc<dyn Queue>, name: &str, message: &JobMessage) {
    queue.publish(name, message).await.expect("the queue takes the message");
}

async fn take(queue: &Arc<dyn Queue>, name: &str) -> JobMessage {
    let mut consumer = queue.consume(name, 1);
    let delivery = next(&mut *consumer).await;
    let message = delivery.message.clone().expect("a readable message");
    delivery.ack().await;
    message
}
