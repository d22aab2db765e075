//! Servers that are away at the start, and two replicas that start at once.

use domain::Bucket;
use testkit::media;

use crate::suite::{HANG, Place, Suite};
use standalone::Services;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_taken_while_the_broker_is_away_and_converted_when_it_is_back() {
    // Nothing listens there: the broker is away for good, and the job store alone does the work.
    let port = testkit::servers::free_port().unwrap();
    let away = format!("amqp://guest:guest@127.0.0.1:{port}");
    let suite = Suite::start_with(Place::Embedded, &Services::ALL, &["--queue-url", &away]).await;
    let ada = suite.visitor("ada@example.com").await;
    let record = suite.converted(&ada, &media::sample("ogg-opus-mono")).await;
    assert_eq!(record["state"], "done", "{record}");
    suite.mails(1).await;
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_started_at_once_on_empty_servers_share_the_work() {
    let first = Suite::start(Place::Servers).await;
    let servers = first.servers.as_ref().unwrap();
    let settings = [
        "--users-url",
        servers.database.url.expose(),
        "--jobs-url",
        &servers.mongodb.url(),
        "--blobs-url",
        &servers.mongodb.url(),
        "--queue-url",
        servers.vhost.url.expose(),
        "--smtp-url",
        &first.inbox.url(),
        "--jwt-secret",
        "the second replica signs with its own",
    ];
    // Both prepare the same empty databases, tables, indexes and queues now.
    let (ada, second) = tokio::join!(
        first.visitor("ada@example.com"),
        Suite::start_with(Place::Embedded, &Services::ALL, &settings)
    );
    let eve = second.visitor("eve@example.com").await;
    let path = media::sample("ogg-opus-mono");
    let (one, two) = tokio::join!(first.converted(&ada, &path), second.converted(&eve, &path));
    assert_eq!(
        (&one["state"], &two["state"]),
        (&"done".into(), &"done".into()),
        "{one} {two}"
    );
    let told = first.inbox.wait_for(2, HANG).await.unwrap();
    assert_eq!(told.len(), 2);
    second.stop().await;
    assert_eq!(first.stack.blobs.count(Bucket::Mp3s).await.unwrap(), 2);
    first.stop().await;
}
