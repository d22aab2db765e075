//! Each test has a place of its own on the shared servers.

use serde_json::json;
use sqlx::Connection;
use testkit::servers::{amqp_vhost, mongodb, mysql_database};

#[tokio::test]
async fn a_database_is_empty_and_goes_away_on_request() {
    let database = mysql_database().await;
    let mut connection = sqlx::MySqlConnection::connect(database.url.expose()).await.unwrap();
    let tables = sqlx::query("SHOW TABLES").fetch_all(&mut connection).await.unwrap();
    assert!(tables.is_empty());

    database.drop_database().await.unwrap();
    assert!(sqlx::MySqlConnection::connect(database.url.expose()).await.is_err());
}

#[tokio::test]
async fn two_tests_on_mongodb_never_share_a_name() {
    let (one, other) = (mongodb().await, mongodb().await);
    assert_ne!(one.prefix, other.prefix);

    let client = mongodb::Client::with_uri_str(one.url.expose()).await.unwrap();
    let name = format!("{}_jobs", one.prefix);
    let jobs = client.database(&name).collection("jobs");
    jobs.insert_one(mongodb::bson::doc! { "_id": 1 }).await.unwrap();
    one.drop_databases().await.unwrap();
    assert!(!client.list_database_names().await.unwrap().contains(&name));
}

#[tokio::test]
async fn the_management_api_sees_and_changes_queues() {
    let vhost = amqp_vhost().await;
    let management = &vhost.management;
    assert_eq!(management.queue("video").await.unwrap(), None);

    let arguments = json!({ "x-queue-type": "quorum", "x-delivery-limit": 20 });
    management.declare_queue("video", arguments).await.unwrap();
    assert!(management.publish("video", b"{\"a\":1}").await.unwrap());
    assert!(!management.publish("elsewhere", b"{}").await.unwrap());

    let queue = management
        .queue_when("video", |queue| queue.messages == 1)
        .await
        .unwrap();
    assert_eq!(queue.kind, "quorum");
    assert!(queue.durable);
    assert_eq!(queue.arguments["x-delivery-limit"], 20);
    assert_eq!(management.queues().await.unwrap().len(), 1);

    let [message] = &management.peek("video", 5).await.unwrap()[..] else {
        panic!("one message was published");
    };
    assert_eq!(&message.body[..], b"{\"a\":1}");
    assert_eq!(message.properties["delivery_mode"], 2);
    let [message] = &management.take("video", 5).await.unwrap()[..] else {
        panic!("the message was put back");
    };
    assert!(message.redelivered);
    assert!(management.take("video", 5).await.unwrap().is_empty());

    management.delete_queue("video").await.unwrap();
    management.delete_queue("video").await.unwrap();
    assert_eq!(management.queue("video").await.unwrap(), None);
    vhost.delete().await.unwrap();
}
