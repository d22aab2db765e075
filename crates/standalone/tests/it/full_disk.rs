//! A disk that is full to its last byte: a small file system of the test's own, under the embedded stores.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::Command;

use domain::Bucket;
use serde_json::Value;
use testkit::visitor::Visitor;
use testkit::{media, until};

use crate::serve::Serving;

/// The disk's size: some room for the databases and a few samples.
const DISK: &str = "32m";

/// `mp3converter serve` in name spaces of its own, which no right is needed for: its data directory is a disk that is
/// seen by this process alone, and reached from outside through `/proc`.
struct SmallDisk {
    serving: Serving,
    data: PathBuf,
    _scratch: tempfile::TempDir,
}

impl SmallDisk {
    fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("data")).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-euc"])
            .arg(format!(
                "mount -t tmpfs -o size={DISK},mode=0700 tmpfs data; exec \"$0\""
            ))
            .arg(env!("CARGO_BIN_EXE_mp3converter"));
        let serving = Serving::start_as(command, scratch.path());
        let inside = scratch.path().strip_prefix("/").unwrap().join("data");
        let data = PathBuf::from(format!("/proc/{}/root", serving.pid())).join(inside);
        Self {
            serving,
            data,
            _scratch: scratch,
        }
    }

    /// The login that the first start made.
    async fn admin(&self) -> Visitor {
        let login = std::fs::read_to_string(self.data.join("secrets/first-login")).unwrap();
        let (email, password) = login.trim_end().split_once(':').unwrap();
        Visitor::login(&self.serving.base(), email, password).await.unwrap()
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let path = self.data.join("filler");
        let mut filler = OpenOptions::new().create(true).append(true).open(path).unwrap();
        for size in [1024 * 1024, 4096, 1] {
            let piece = vec![0; size];
            loop {
                match filler.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.data.join("filler")).unwrap();
    }

    fn mails(&self) -> usize {
        let entries = std::fs::read_dir(self.data.join("mail"));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
        names
            .filter(|path| path.extension().is_some_and(|kind| kind == "eml"))
            .count()
    }
}

/// Every job as the API tells it, newest first.
async fn jobs(visitor: &Visitor) -> Vec<Value> {
    let answer = visitor.get("/api/v1/jobs").await.unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

async fn done(visitor: &Visitor, count: usize) {
    until("every job is done", async || {
        let jobs = jobs(visitor).await;
        let done = jobs.iter().filter(|job| job["state"] == "done").count();
        (done == count).then_some(())
    })
    .await;
}

/// An upload of which nobody knows beforehand how long it is.
async fn upload_of_unknown_length(disk: &SmallDisk, visitor: &Visitor) -> String {
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--max-time", "60", "-w", " %{http_code}"])
        .args(["-H", "Transfer-Encoding: chunked"])
        .args(["-H", &format!("Authorization: Bearer {}", visitor.token)])
        .args(["-F", &format!("file=@{}", media::sample("wav-44100").display())])
        .arg(format!("{}/upload", disk.serving.base()))
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_uploads_keeps_what_was_accepted_and_is_gone_when_there_is_room() {
    let disk = SmallDisk::start();
    let admin = disk.admin().await;
    let sample = media::sample("wav-44100");
    assert_eq!(admin.upload(&sample).await.unwrap().text(), "success!");
    done(&admin, 1).await;
    until("the owner is told", async || (disk.mails() == 1).then_some(())).await;

    // Accepted, and its MP3 finds no room.
    let long = media::clip_of_seconds(600, false);
    assert_eq!(admin.upload(&long).await.unwrap().text(), "success!");
    disk.fill();
    for _ in 0..2 {
        let answer = upload_of_unknown_length(&disk, &admin).await;
        assert!(answer.ends_with(" 507") && answer.contains("no space left"), "{answer}");
        let answer = admin.upload(&sample).await.unwrap();
        assert_eq!(answer.status, 507, "{}", answer.text());
    }
    let accepted = jobs(&admin).await;
    let unfinished = |job: &&Value| ["queued", "converting"].contains(&job["state"].as_str().unwrap());
    assert_eq!(accepted.iter().filter(unfinished).count(), 1, "{accepted:?}");
    disk.admin().await;

    disk.make_room();
    done(&admin, 2).await;
    until("there is room again", async || {
        let answer = admin.upload(&sample).await.unwrap();
        assert!([200, 507].contains(&answer.status), "{}", answer.text());
        (answer.status == 200).then_some(())
    })
    .await;
    done(&admin, 3).await;
    until("each owner is told", async || (disk.mails() >= 3).then_some(())).await;
    let url = format!("file:{}", disk.data.join("blobs").display()).parse().unwrap();
    let blobs = adapters::blobs::connect(&url).unwrap();
    for bucket in Bucket::ALL {
        until("nothing is left of what failed", async || {
            let unfinished = blobs.list_unfinished(bucket, None, 10).await.unwrap();
            (unfinished.is_empty() && blobs.count(bucket).await.unwrap() == 3).then_some(())
        })
        .await;
    }
    assert_eq!(disk.mails(), 3);
}
