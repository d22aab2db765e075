//! A server killed, frozen or stopped comes back with its data, on the same port.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::json;
use sqlx::{Connection, MySqlConnection};
use testkit::servers::{MariaDb, MongoDb, RabbitMq, Signal};

#[tokio::test]
async fn mariadb_keeps_what_it_confirmed_through_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = MariaDb::start(directory.path()).await.unwrap();
    let url = server.url();
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    for statement in [
        "CREATE DATABASE kept",
        "CREATE TABLE kept.t (n INT)",
        "INSERT INTO kept.t VALUES (7)",
    ] {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }

    server.kill();
    assert!(MySqlConnection::connect(&url).await.is_err());
    server.restart().await.unwrap();

    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let number: i32 = sqlx::query_scalar("SELECT n FROM kept.t")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(number, 7);
    server.stop().await.unwrap();
    assert_eq!(server.pid(), None);
}

#[tokio::test]
async fn mongodb_is_a_writable_primary_again_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = MongoDb::start(directory.path()).await.unwrap();
    let client = mongodb::Client::with_uri_str(server.url()).await.unwrap();
    let collection = client.database("kept").collection::<Document>("t");
    collection.insert_one(doc! { "_id": 7 }).await.unwrap();

    server.kill();
    server.restart().await.unwrap();

    let client = mongodb::Client::with_uri_str(server.url()).await.unwrap();
    let collection = client.database("kept").collection::<Document>("t");
    collection.insert_one(doc! { "_id": 8 }).await.unwrap();
    assert_eq!(collection.count_documents(doc! {}).await.unwrap(), 2);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn rabbitmq_keeps_messages_and_password_through_a_stop_and_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = RabbitMq::start(directory.path()).await.unwrap();
    let management = server.management("/").unwrap();
    let arguments = json!({ "x-queue-type": "quorum" });
    management.declare_queue("video", arguments).await.unwrap();
    for body in ["1", "2"] {
        assert!(management.publish("video", body).await.unwrap());
    }

    server.stop().await.unwrap();
    assert!(management.queues().await.is_err());
    server.restart().await.unwrap();
    assert_eq!(management.take("video", 1).await.unwrap()[0].body, "1");

    server.kill();
    server.restart().await.unwrap();
    let left = management.take("video", 5).await.unwrap();
    assert_eq!(left.last().unwrap().body, "2");
}

#[tokio::test]
async fn a_frozen_server_answers_again_when_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = MariaDb::start(directory.path()).await.unwrap();
    server.process().signal(Signal::STOP);
    let mut answer = tokio::spawn({
        let url = server.url();
        async move { MySqlConnection::connect(&url).await }
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut answer)
            .await
            .is_err()
    );
    server.process().signal(Signal::CONT);
    answer.await.unwrap().unwrap();
}
