//! Log in, upload, be told, download: on the embedded adapters and on real servers.

use std::collections::BTreeSet;

use domain::Bucket;
use testkit::media;

use crate::suite::{Place, Suite};

/// The main job: one upload becomes one MP3 and one mail, and its owner gets it.
async fn upload_to_mail_to_download(place: Place) {
    let suite = Suite::start(place).await;
    let ada = suite.visitor("Ada@Example.com").await;
    let record = suite.converted(&ada, &media::sample("mp4-h264-aac")).await;
    assert_eq!(record["state"], "done", "{record}");
    let fid = record["mp3_fid"].as_str().unwrap();

    let mails = suite.mails(1).await;
    assert_eq!(mails[0].recipients, ["Ada@Example.com"]);
    assert_eq!(mails[0].subject, "MP3 Download");
    assert_eq!(
        mails[0].text.lines().next(),
        Some(format!("mp3 file_id: {fid} is now ready!").as_str())
    );

    let mp3 = ada.download(fid).await.unwrap();
    assert_eq!(mp3.status, 200);
    assert_eq!(
        mp3.body.len() as u64,
        suite
            .stack
            .blobs
            .stat(Bucket::Mp3s, fid.parse().unwrap())
            .await
            .unwrap()
            .unwrap()
            .len_bytes
    );
    assert!(mp3.body.starts_with(b"ID3"), "the title comes first");

    // Another account gets nothing, and learns nothing.
    let eve = suite.visitor("eve@example.com").await;
    let job = record["id"].as_str().unwrap();
    assert_eq!(eve.download(fid).await.unwrap().status, 404);
    assert_eq!(eve.get(&format!("/api/v1/jobs/{job}")).await.unwrap().status, 404);
    assert_eq!(eve.get("/api/v1/jobs").await.unwrap().text(), "[]");
    suite.stop().await;
}

/// Bad media is explained by mail and by the job, once.
async fn a_video_without_sound_is_explained_to_its_owner(place: Place) {
    let suite = Suite::start(place).await;
    let ada = suite.visitor("ada@example.com").await;
    let record = suite.converted(&ada, &media::without_audio()).await;
    assert_eq!(record["state"], "failed", "{record}");
    assert_eq!(record["reason"]["code"], "no_audio");
    assert_eq!(record["mp3_fid"], serde_json::Value::Null);
    let mails = suite.mails(1).await;
    assert_eq!(mails[0].subject, "MP3 conversion failed");
    let reason = record["reason"]["message"].as_str().unwrap();
    assert!(mails[0].text.contains(reason), "{}", mails[0].text);
    suite.stop().await;
}

/// Every kind of file converts, and each upload is told once.
async fn every_sample_is_converted_and_told_once(place: Place) {
    let suite = Suite::start(place).await;
    let ada = suite.visitor("ada@example.com").await;
    let mut paths: Vec<_> = media::samples().into_iter().map(|sample| sample.path).collect();
    paths.extend(media::shared_samples());
    let mut jobs = BTreeSet::new();
    for path in &paths {
        let record = suite.converted(&ada, path).await;
        let silent = path.file_name().is_some_and(|name| name == "no-audio.mp4");
        assert_eq!(
            record["state"],
            if silent { "failed" } else { "done" },
            "{}: {record}",
            path.display()
        );
        jobs.insert(record["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(jobs.len(), paths.len());
    let mails = suite.mails(paths.len()).await;
    suite.stop().await;
    let ids: BTreeSet<_> = mails.iter().map(|mail| header(&mail.raw, "Message-ID")).collect();
    assert_eq!((mails.len(), ids.len()), (paths.len(), paths.len()));
}

fn header(raw: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(raw);
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_to_mail_to_download_embedded() {
    upload_to_mail_to_download(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_to_mail_to_download_on_servers() {
    upload_to_mail_to_download(Place::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_without_sound_is_explained_to_its_owner_embedded() {
    a_video_without_sound_is_explained_to_its_owner(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_without_sound_is_explained_to_its_owner_on_servers() {
    a_video_without_sound_is_explained_to_its_owner(Place::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_converted_and_told_once_embedded() {
    every_sample_is_converted_and_told_once(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_converted_and_told_once_on_servers() {
    every_sample_is_converted_and_told_once(Place::Servers).await;
}
