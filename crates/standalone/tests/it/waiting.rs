//! Servers that are away at the start, lose everything or freeze in mid-run, and two replicas that start at once.

use domain::Bucket;
use testkit::servers::Signal;
use testkit::{media, until};

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
async fn a_broker_that_loses_everything_loses_no_job() {
    let suite = Suite::start(Place::Servers).await;
    let ada = suite.visitor("ada@example.com").await;
    let path = media::sample("ogg-opus-mono");
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(suite.uploaded(&ada, &path).await);
    }
    let management = &suite.servers.as_ref().unwrap().vhost.management;
    management.delete_vhost().await.unwrap();
    management.create_vhost().await.unwrap();
    for id in &ids {
        let record = suite.ended(&ada, id).await;
        assert_eq!(record["state"], "done", "{record}");
    }
    assert_eq!(suite.mails(ids.len()).await.len(), ids.len());
    assert_eq!(suite.stack.blobs.count(Bucket::Mp3s).await.unwrap(), ids.len() as u64);
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_freezes_in_mid_job_costs_nothing() {
    const JOBS: usize = 5;
    let suite = Suite::start(Place::Servers).await;
    let ada = suite.visitor("ada@example.com").await;
    // One is converted, the others wait.
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        ids.push(suite.uploaded(&ada, &media::sample("mp4-h264-aac")).await);
    }
    let mongodb = &suite.servers.as_ref().unwrap().mongodb;
    mongodb.process().signal(Signal::STOP);
    // For longer than a call may take: whatever was under way when it froze, or began soon after, has ended in trouble.
    for _ in 0..2 {
        until("calls end in time", async || suite.stack.jobs.ping().await.err()).await;
    }
    mongodb.process().signal(Signal::CONT);
    for id in &ids {
        let record = suite.ended(&ada, id).await;
        assert_eq!(record["state"], "done", "{record}");
    }
    assert_eq!(suite.mails(JOBS).await.len(), JOBS);
    let blobs = &suite.stack.blobs;
    until("what came to nothing is gone", async || {
        let unfinished = blobs.list_unfinished(Bucket::Mp3s, None, 9).await.ok()?;
        (unfinished.is_empty() && blobs.count(Bucket::Mp3s).await.ok()? == JOBS as u64).then_some(())
    })
    .await;
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
