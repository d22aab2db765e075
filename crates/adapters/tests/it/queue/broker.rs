//! Queues and messages on a RabbitMQ that stays up.

use std::collections::BTreeSet;

use domain::{JobMessage, MP3_QUEUE, Queue, VIDEO_QUEUE};
use hyper::Method;
use serde_json::{Value, json};
use testkit::conformance::queue::{message, next};
use testkit::servers::{TestVhost, amqp_vhost, unique_name};
use testkit::until;

use super::connect;
use super::management::call;
use super::warnings::Warnings;

/// Publishes until it works, as whoever announces does.
pub(super) async fn publish_in_the_end(queue: &dyn Queue, name: &str, message: &JobMessage) {
    until("the broker takes the message", async || {
        match queue.publish(name, message).await {
            Ok(()) => Some(()),
            Err(error) => {
                assert!(matches!(error, domain::PortError::Unavailable { .. }));
                None
            }
        }
    })
    .await;
}

/// What a foreign producer could send.
async fn receive_raw(vhost: &TestVhost, body: &[u8]) -> Result<JobMessage, Vec<u8>> {
    let queue = connect(&vhost.url);
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    // The queue comes into being with its consumer.
    tokio::select! {
        _ = consumer.next() => panic!("the queue is empty"),
        declared = vhost.management.queue_when(VIDEO_QUEUE, |queue| queue.consumers == 1) => {
            declared.unwrap();
        }
    }
    assert!(vhost.management.publish(VIDEO_QUEUE, body).await.unwrap());
    let delivery = next(&mut *consumer).await;
    let message = delivery.message.clone();
    delivery.reject().await;
    message
}

#[tokio::test]
async fn a_message_is_persistent_json_named_after_its_job() {
    let vhost = amqp_vhost().await;
    let sent = message();
    connect(&vhost.url).publish(VIDEO_QUEUE, &sent).await.unwrap();
    let received = vhost.management.take(VIDEO_QUEUE, 1).await.unwrap();
    let properties = &received[0].properties;
    assert_eq!(properties["delivery_mode"], 2);
    assert_eq!(properties["content_type"], "application/json");
    assert_eq!(properties["message_id"], sent.video_fid.to_string());
    assert_eq!(
        received[0].body,
        format!(
            r#"{{"video_fid":"{}","mp3_fid":null,"username":"Ada@example.com"}}"#,
            sent.video_fid
        )
    );
}

#[tokio::test]
async fn a_message_of_the_original_is_read() {
    let body = br#"{"video_fid": "64b7f3a2c9e77b0001a1b2c3", "mp3_fid": null, "username": "a@email.com"}"#;
    let read = receive_raw(&amqp_vhost().await, body).await.unwrap();
    assert_eq!(read.video_fid.to_string(), "64b7f3a2c9e77b0001a1b2c3");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_in_the_dead_letter_queue() {
    let vhost = amqp_vhost().await;
    let garbage = b"\xff\x00 not ours";
    assert_eq!(receive_raw(&vhost, garbage).await, Err(garbage.to_vec()));
    let kept = vhost.management.queue_when("video.dead", |queue| queue.messages == 1);
    kept.await.unwrap();
    let kept = vhost.management.take("video.dead", 2).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(&kept[0].body[..], garbage);
}

#[tokio::test]
async fn dead_letters_that_find_no_room_are_kept_by_the_queue_they_come_from() {
    const BOUND: u32 = 3;
    const GARBAGE: usize = 10;
    let vhost = amqp_vhost().await;
    let (queue, management) = (connect(&vhost.url), &vhost.management);
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    let first = message();
    queue.publish(VIDEO_QUEUE, &first).await.unwrap();
    next(&mut *consumer).await.ack().await;
    let bound = json!({
        "pattern": "\\.dead$",
        "apply-to": "queues",
        "definition": { "max-length": BOUND, "overflow": "reject-publish" },
    });
    call(
        Method::PUT,
        &format!("policies/{}/bound", management.vhost()),
        Some(bound),
    )
    .await;
    let bounded = management.queue_when("video.dead", |queue| queue.policy.is_some());
    bounded.await.unwrap();

    let mut garbage = BTreeSet::new();
    for number in 0..GARBAGE {
        let body = format!("garbage {number}");
        assert!(management.publish(VIDEO_QUEUE, &body).await.unwrap());
        next(&mut *consumer).await.reject().await;
        garbage.insert(body);
    }
    let full = management.queue_when("video.dead", |queue| queue.messages >= BOUND.into());
    assert!(full.await.unwrap().messages < GARBAGE as u64, "it has a bound");
    // And nobody is kept waiting by it.
    let sent = message();
    queue.publish(VIDEO_QUEUE, &sent).await.unwrap();
    let delivery = next(&mut *consumer).await;
    assert_eq!(delivery.message, Ok(sent));
    delivery.ack().await;

    let mut kept = BTreeSet::new();
    until("all of it has found room", async || {
        for letter in management.take("video.dead", 10).await.unwrap() {
            kept.insert(String::from_utf8(letter.body.to_vec()).unwrap());
        }
        (kept.len() == GARBAGE).then_some(())
    })
    .await;
    assert_eq!(kept, garbage);
}

#[tokio::test]
async fn a_body_of_more_than_4_kib_is_not_a_message() {
    let mut body = serde_json::to_value(message()).unwrap();
    body["padding"] = "x".repeat(4096).into();
    let body = body.to_string().into_bytes();
    assert_eq!(receive_raw(&amqp_vhost().await, &body).await, Err(body));
}

#[tokio::test]
async fn headers_that_fit_into_no_frame_hold_no_other_message_up() {
    let vhost = amqp_vhost().await;
    let (queue, management) = (connect(&vhost.url), &vhost.management);
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    let first = message();
    queue.publish(VIDEO_QUEUE, &first).await.unwrap();
    next(&mut *consumer).await.ack().await;
    let headers = json!({ "headers": { "baggage": "x".repeat(60_000) } });
    assert!(management.publish_with(VIDEO_QUEUE, "{}", headers).await.unwrap());
    let sent = message();
    publish_in_the_end(&*queue, VIDEO_QUEUE, &sent).await;
    until("the message behind it arrives", async || {
        let delivery = next(&mut *consumer).await;
        let arrived = delivery.message == Ok(sent.clone());
        delivery.ack().await;
        arrived.then_some(())
    })
    .await;
    let kept = management.queue_when("video.dead", |queue| queue.messages == 1);
    kept.await.unwrap();
}

#[tokio::test]
async fn what_the_code_declares_is_what_the_definitions_say() {
    let vhost = amqp_vhost().await;
    let queue = connect(&vhost.url);
    for name in [VIDEO_QUEUE, MP3_QUEUE] {
        queue.publish(name, &message()).await.unwrap();
    }
    let declared = call(Method::GET, &format!("definitions/{}", vhost.management.vhost()), None).await;

    let text = include_str!("../../../../../rabbit/definitions.json");
    let mut definitions: Value = serde_json::from_str(text).unwrap();
    for part in ["exchanges", "queues", "bindings"] {
        let said = sorted(definitions[part].take(), "vhost");
        assert_eq!(sorted(declared[part].clone(), "vhost"), said, "{part}");
    }
    assert_eq!(definitions["vhosts"], json!([{ "name": "/" }]));
}

/// A list of objects without one key, in an order of their own.
fn sorted(list: Value, without: &str) -> Vec<Value> {
    let mut list = list.as_array().cloned().unwrap_or_default();
    for entry in &mut list {
        entry.as_object_mut().unwrap().remove(without);
    }
    list.sort_by_key(Value::to_string);
    list
}

#[tokio::test]
async fn queues_imported_from_the_definitions_are_taken_for_ours() {
    let vhost = amqp_vhost().await;
    let text = include_str!("../../../../../rabbit/definitions.json");
    let mut definitions: Value = serde_json::from_str(text).unwrap();
    for part in ["exchanges", "queues", "bindings"] {
        for entry in definitions[part].as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("vhost");
        }
    }
    definitions.as_object_mut().unwrap().remove("vhosts");
    let path = format!("definitions/{}", vhost.management.vhost());
    call(Method::POST, &path, Some(definitions)).await;

    let warnings = Warnings::collect();
    connect(&vhost.url).publish(VIDEO_QUEUE, &message()).await.unwrap();
    assert_eq!(warnings.texts(), [""; 0]);
}

#[tokio::test]
async fn a_classic_queue_made_by_hand_is_used_as_it_is_with_one_warning() {
    let vhost = amqp_vhost().await;
    vhost
        .management
        .declare_queue(VIDEO_QUEUE, json!({ "x-queue-type": "classic" }))
        .await
        .unwrap();
    let warnings = Warnings::collect();
    let queue = connect(&vhost.url);
    let sent = message();
    queue.publish(VIDEO_QUEUE, &sent).await.unwrap();
    for _ in 0..2 {
        let mut consumer = queue.consume(VIDEO_QUEUE, 1);
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.message, Ok(sent.clone()));
    }
    let state = vhost.management.queue(VIDEO_QUEUE).await.unwrap().unwrap();
    assert_eq!(state.kind, "classic");
    let texts = warnings.texts();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("used as it is") && texts[0].contains("dead letters"));
    // Nothing was made beside a queue that is not ours.
    assert_eq!(vhost.management.queues().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_who_may_not_configure_uses_the_queues_that_exist() {
    let vhost = amqp_vhost().await;
    let sent = message();
    connect(&vhost.url).publish(VIDEO_QUEUE, &sent).await.unwrap();

    let user = unique_name("user");
    let account = json!({ "password": "secret", "tags": "" });
    call(Method::PUT, &format!("users/{user}"), Some(account)).await;
    let rights = json!({ "configure": "^$", "write": ".*", "read": ".*" });
    let path = format!("permissions/{}/{user}", vhost.management.vhost());
    call(Method::PUT, &path, Some(rights)).await;
    let mut url: url::Url = vhost.url.expose().parse().unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("secret")).unwrap();

    let queue = connect(&url.as_str().parse().unwrap());
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    let delivery = next(&mut *consumer).await;
    assert_eq!(delivery.message, Ok(sent.clone()));
    delivery.ack().await;
    queue.publish(VIDEO_QUEUE, &sent).await.unwrap();
    let missing = queue.publish("elsewhere", &sent).await.unwrap_err();
    let domain::PortError::Unavailable { source, .. } = missing else {
        panic!("{missing}");
    };
    assert!(source.to_string().contains("ACCESS"), "{source}");
    call(Method::DELETE, &format!("users/{user}"), None).await;
}

#[tokio::test]
async fn publishing_to_a_queue_that_was_deleted_makes_it_again_and_loses_nothing() {
    let vhost = amqp_vhost().await;
    let queue = connect(&vhost.url);
    queue.publish(VIDEO_QUEUE, &message()).await.unwrap();
    vhost.management.delete_queue(VIDEO_QUEUE).await.unwrap();

    let sent = message();
    queue.publish(VIDEO_QUEUE, &sent).await.unwrap();
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    let delivery = next(&mut *consumer).await;
    assert_eq!(delivery.message, Ok(sent));
    delivery.ack().await;
}

#[tokio::test]
async fn a_queue_deleted_under_its_consumer_is_noticed_and_made_again() {
    let vhost = amqp_vhost().await;
    let queue = connect(&vhost.url);
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    let first = message();
    queue.publish(VIDEO_QUEUE, &first).await.unwrap();
    next(&mut *consumer).await.ack().await;

    vhost.management.delete_queue(VIDEO_QUEUE).await.unwrap();
    let waiting = tokio::spawn(async move { next(&mut *consumer).await.message });
    vhost
        .management
        .queue_when(VIDEO_QUEUE, |queue| queue.consumers == 1)
        .await
        .unwrap();
    let second = message();
    queue.publish(VIDEO_QUEUE, &second).await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(second));
}

#[tokio::test]
async fn both_sides_recover_when_the_broker_closes_their_connections() {
    let vhost = amqp_vhost().await;
    let queue = connect(&vhost.url);
    let mut consumer = queue.consume(VIDEO_QUEUE, 1);
    let first = message();
    queue.publish(VIDEO_QUEUE, &first).await.unwrap();
    let held = next(&mut *consumer).await;
    assert_eq!(held.message, Ok(first.clone()));

    while vhost.management.close_connections().await.unwrap() < 2 {}
    let again = next(&mut *consumer).await;
    assert_eq!(again.message, Ok(first));
    held.ack().await;
    again.ack().await;

    let second = message();
    publish_in_the_end(&*queue, VIDEO_QUEUE, &second).await;
    let delivery = next(&mut *consumer).await;
    assert_eq!(delivery.message, Ok(second));
    delivery.ack().await;
    queue.ping().await.unwrap();
}
