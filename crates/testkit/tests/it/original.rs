//! The Python programs stand in for the original: alone they do its main job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{BackendUrl, Bucket, Fid, JobMessage, VIDEO_QUEUE};
use testkit::inbox::Inbox;
use testkit::original::{Original, classic_queues, plain_account, pymongo_get, pymongo_put};
use testkit::servers::{MongoDb, amqp_vhost, mysql_database};
use testkit::visitor::Visitor;

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "a secret of the tests, more than 32 bytes";

#[tokio::test]
async fn the_four_programs_of_the_original_do_its_main_job_together() {
    let scratch = tempfile::tempdir().unwrap();
    let (database, vhost) = (mysql_database().await, amqp_vhost().await);
    plain_account(&database.url, "ada@example.com", "in plain sight")
        .await
        .unwrap();
    classic_queues(&vhost.management).await.unwrap();
    let mongodb = MongoDb::start(scratch.path()).await.unwrap();
    let mongodb: BackendUrl = mongodb_url(&mongodb);
    let inbox = Inbox::start().await.unwrap();
    let auth = Original::auth(&database.url, SECRET).await.unwrap();
    let (gateway, converter, notification) = tokio::join!(
        Original::gateway(auth.address(), &mongodb, &vhost.url),
        Original::converter(&mongodb, &vhost.url),
        Original::notification(&vhost.url, inbox.address(), "mp3@example.com"),
    );
    let gateway = gateway.unwrap();
    let (_converter, _notification) = (converter.unwrap(), notification.unwrap());

    let refused = Visitor::login(&gateway.url(), "ada@example.com", "guessed").await;
    assert!(refused.err().unwrap().to_string().ends_with("401 invalid credentials"));
    let ada = Visitor::login(&gateway.url(), "ada@example.com", "in plain sight")
        .await
        .unwrap();
    let answer = ada.upload(&video(scratch.path()).await.unwrap()).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "success!"));

    let mails = inbox.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(mails[0].recipients, ["ada@example.com"]);
    assert_eq!(mails[0].subject, "MP3 Download");
    let fid: Fid = mails[0]
        .text
        .trim_end()
        .strip_prefix("mp3 file_id: ")
        .and_then(|rest| rest.strip_suffix(" is now ready!"))
        .unwrap()
        .parse()
        .unwrap();
    let mp3 = ada.download(&fid.to_string()).await.unwrap();
    assert_eq!(mp3.status, 200);
    assert!(!mp3.body.is_empty());
    assert_eq!(pymongo_get(&mongodb, Bucket::Mp3s, fid).await.unwrap(), mp3.body);
    for queue in vhost.management.queues().await.unwrap() {
        assert_eq!(queue.kind, "classic");
        vhost
            .management
            .queue_when(&queue.name, |queue| queue.messages == 0)
            .await
            .unwrap();
    }
    assert_eq!(inbox.mails().len(), 1);
}

#[tokio::test]
async fn the_original_gateway_answers_what_the_contract_says_and_publishes_one_message() {
    let scratch = tempfile::tempdir().unwrap();
    let (database, vhost) = (mysql_database().await, amqp_vhost().await);
    plain_account(&database.url, "ada@example.com", "in plain sight")
        .await
        .unwrap();
    classic_queues(&vhost.management).await.unwrap();
    let mongodb = MongoDb::start(scratch.path()).await.unwrap();
    let mongodb = mongodb_url(&mongodb);
    let auth = Original::auth(&database.url, SECRET).await.unwrap();
    let gateway = Original::gateway(auth.address(), &mongodb, &vhost.url).await.unwrap();
    let ada = Visitor::login(&gateway.url(), "ada@example.com", "in plain sight")
        .await
        .unwrap();

    for (path, status, body) in [
        ("/download", 400, "fid is required"),
        ("/download?fid=x", 404, "not found"),
        ("/download?fid=0123456789abcdef01234567", 404, "not found"),
    ] {
        let answer = ada.get(path).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{path}");
    }
    let mut forger = ada.clone();
    forger.token.push('x');
    let answer = forger.get("/download?fid=x").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (403, "not authorized"));

    let file = scratch.path().join("video");
    std::fs::write(&file, b"not really a video").unwrap();
    assert_eq!(ada.upload(&file).await.unwrap().status, 200);
    let [published] = &vhost.management.take(VIDEO_QUEUE, 5).await.unwrap()[..] else {
        panic!("one upload is one message");
    };
    assert_eq!(published.properties["delivery_mode"], 2);
    let message: JobMessage = serde_json::from_slice(&published.body).unwrap();
    assert_eq!(message.username.as_str(), "ada@example.com");
    assert_eq!(message.mp3_fid, None);
    let stored = pymongo_get(&mongodb, Bucket::Videos, message.video_fid).await;
    assert_eq!(stored.unwrap(), b"not really a video");
}

#[tokio::test]
async fn pymongo_reads_back_what_it_wrote() {
    let scratch = tempfile::tempdir().unwrap();
    let mongodb = MongoDb::start(scratch.path()).await.unwrap();
    let mongodb = mongodb_url(&mongodb);
    let bytes: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let fid = pymongo_put(&mongodb, Bucket::Mp3s, &bytes).await.unwrap();
    assert_eq!(pymongo_get(&mongodb, Bucket::Mp3s, fid).await.unwrap(), bytes);
    let elsewhere = pymongo_get(&mongodb, Bucket::Videos, fid).await;
    assert!(elsewhere.unwrap_err().to_string().contains("NoFile"));
}

fn mongodb_url(server: &MongoDb) -> BackendUrl {
    server.url().parse().expect("the launcher gives a URL")
}

/// Two seconds of a test picture with a tone.
async fn video(directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join("tone.mp4");
    let status = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440", "-t", "2", "-shortest"])
        .arg(&path)
        .status()
        .await?;
    anyhow::ensure!(status.success(), "ffmpeg: {status}");
    Ok(path)
}
