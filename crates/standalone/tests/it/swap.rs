//! The original's services, each in the place of one of ours, on real servers that somebody made by hand.

use std::time::Duration;

use bytes::Bytes;
use domain::{BackendUrl, Bucket, Fid, JobState, NewBlob};
use gateway::janitor::Janitor;
use standalone::{Auth, Services};
use testkit::inbox::Mail;
use testkit::media;
use testkit::original::{Original, classic_queues, plain_account, pymongo_get, pymongo_put};
use testkit::visitor::Visitor;
use tokio::time::{Instant, interval};

use crate::suite::{Ground, Place, Servers, Suite};

const OWNER: &str = "ada@example.com";
const PASSWORD: &str = "in plain sight";
const SECRET: &str = "a secret of the tests, more than 32 bytes";

/// Twice a lease, and many rounds of looking for due work and for announcements that are owed.
const WATCH: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// All that a service could have repeated.
#[derive(Debug, PartialEq)]
struct Traces {
    mails: usize,
    videos: u64,
    mp3s: u64,
    /// Of each job: its state, its MP3, and how often a conversion was begun.
    jobs: Vec<(JobState, Option<Fid>, u32)>,
}

/// Servers as the original's users set them up: plain-text passwords, classic queues.
async fn the_originals_ground() -> Ground {
    let ground = Ground::prepare(Place::Servers).await;
    let servers = servers(&ground);
    plain_account(&servers.database.url, OWNER, PASSWORD).await.unwrap();
    classic_queues(&servers.vhost.management).await.unwrap();
    ground
}

fn servers(ground: &Ground) -> &Servers {
    ground.servers.as_ref().expect("this ground has servers")
}

fn mongodb_url(servers: &Servers) -> BackendUrl {
    servers.mongodb.url().parse().unwrap()
}

/// The main job with whatever services stand behind `gateway`; then a minute in which nothing may happen.
async fn one_upload_is_converted_and_told_once(suite: &Suite, gateway: &str) -> Mail {
    let ada = Visitor::login(gateway, OWNER, PASSWORD).await.unwrap();
    let answer = ada.upload(&media::sample("mp4-h264-aac")).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "success!"));

    let mail = suite.mails(1).await.remove(0);
    assert_eq!(mail.subject, "MP3 Download");
    assert_eq!(mail.recipients, [OWNER]);
    let fid = announced_fid(&mail);
    let mp3 = ada.download(&fid.to_string()).await.unwrap();
    assert_eq!(mp3.status, 200, "{}", mp3.text());
    let servers = suite.servers.as_ref().unwrap();
    let stored = pymongo_get(&mongodb_url(servers), Bucket::Mp3s, fid).await.unwrap();
    assert!(
        !stored.is_empty() && mp3.body == stored,
        "the download differs from the file"
    );

    nothing_repeats(suite, fid).await;
    for queue in ["video", "mp3"] {
        let queue = servers.vhost.management.queue(queue).await.unwrap().unwrap();
        assert_eq!(queue.kind, "classic", "the hand-made queue is used as it is");
    }
    for queue in servers.vhost.management.queues().await.unwrap() {
        assert_eq!(queue.messages, 0, "{queue:?}");
    }
    mail
}

/// The id in a mail's first line, which is the same in the original's mails and in ours.
fn announced_fid(mail: &Mail) -> Fid {
    let line = mail.text.lines().next().unwrap();
    let id = line
        .strip_prefix("mp3 file_id: ")
        .and_then(|rest| rest.strip_suffix(" is now ready!"));
    id.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

/// Looks on for a minute: there is one mail, one MP3, and one job that is done, and so it stays.
async fn nothing_repeats(suite: &Suite, mp3_fid: Fid) {
    let settled = traces(suite).await;
    let &[(JobState::Done, Some(fid), attempts)] = &settled.jobs[..] else {
        panic!("{settled:?}")
    };
    assert_eq!(fid, mp3_fid, "the owner was told of the job's MP3");
    let once = Traces {
        mails: 1,
        videos: 1,
        mp3s: 1,
        jobs: vec![(JobState::Done, Some(mp3_fid), attempts)],
    };
    let end = Instant::now() + WATCH;
    let mut looks = interval(LOOK_EVERY);
    while Instant::now() < end {
        looks.tick().await;
        assert_eq!(traces(suite).await, once, "{:?} before the end", end - Instant::now());
    }
}

async fn traces(suite: &Suite) -> Traces {
    let stack = &suite.stack;
    let jobs = stack.jobs.list(None, None, 10, None).await.unwrap();
    Traces {
        mails: suite.inbox.mails().len(),
        videos: stack.blobs.count(Bucket::Videos).await.unwrap(),
        mp3s: stack.blobs.count(Bucket::Mp3s).await.unwrap(),
        jobs: jobs
            .into_iter()
            .map(|job| (job.state, job.mp3.map(|mp3| mp3.fid), job.attempts))
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_originals_auth_an_upload_is_converted_and_told_once() {
    let ground = the_originals_ground().await;
    let database = &servers(&ground).database.url;
    let auth = Original::auth(database, SECRET).await.unwrap();
    let services = Services {
        auth: Auth::Remote(auth.address().to_string()),
        ..Services::ALL
    };
    let suite = ground.start(&services, &[]).await;
    let refused = Visitor::login(&suite.base(), OWNER, "guessed").await;
    assert!(refused.err().unwrap().to_string().ends_with("401 invalid credentials"));
    one_upload_is_converted_and_told_once(&suite, &suite.base()).await;
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_originals_gateway_an_upload_is_converted_and_told_once() {
    let services = Services {
        auth: Auth::Listening,
        gateway: false,
        ..Services::ALL
    };
    let suite = the_originals_ground().await.start(&services, &[]).await;
    let (auth, servers) = (suite.stack.auth.unwrap(), suite.servers.as_ref().unwrap());
    let gateway = Original::gateway(auth, &mongodb_url(servers), &servers.vhost.url)
        .await
        .unwrap();
    one_upload_is_converted_and_told_once(&suite, &gateway.url()).await;
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_originals_converter_an_upload_is_converted_and_told_once() {
    let ground = the_originals_ground().await;
    let vhost = &servers(&ground).vhost.url;
    let mongodb = mongodb_url(servers(&ground));
    let _converter = Original::converter(&mongodb, vhost).await.unwrap();
    let services = Services {
        converter: false,
        ..Services::ALL
    };
    let suite = ground.start(&services, &[]).await;
    one_upload_is_converted_and_told_once(&suite, &suite.base()).await;
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_originals_notification_an_upload_is_converted_and_told_once() {
    let ground = the_originals_ground().await;
    let vhost = &servers(&ground).vhost.url;
    let _notification = Original::notification(vhost, ground.inbox.address(), "mp3@example.com")
        .await
        .unwrap();
    let services = Services {
        notification: false,
        ..Services::ALL
    };
    let suite = ground.start(&services, &[]).await;
    let mail = one_upload_is_converted_and_told_once(&suite, &suite.base()).await;
    assert_eq!(mail.text.trim_end().lines().count(), 1, "the mail is the original's");
    suite.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_pymongo_wrote_before_the_first_start_survive_the_janitor() {
    let ground = the_originals_ground().await;
    let mongodb = mongodb_url(servers(&ground));
    // Three chunks, the last one short.
    let bytes: Vec<u8> = (0..600_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut theirs = Vec::new();
    for bucket in Bucket::ALL {
        theirs.push((bucket, pymongo_put(&mongodb, bucket, &bytes).await.unwrap()));
    }

    let suite = ground.start(&Services::ALL, &[]).await;
    let ada = Visitor::login(&suite.base(), OWNER, PASSWORD).await.unwrap();
    let record = suite.converted(&ada, &media::sample("ogg-opus-mono")).await;
    assert_eq!(record["state"], "done", "{record}");
    let blobs = &suite.stack.blobs;
    for bucket in Bucket::ALL {
        let of_no_job = NewBlob {
            id: Fid::new(),
            job: Fid::new(),
            owner: OWNER.parse().unwrap(),
            filename: "of-no-job".to_owned(),
        };
        let mut writer = blobs.put(bucket, of_no_job).await.unwrap();
        writer.write(Bytes::from_static(b"nobody needs it")).await.unwrap();
        writer.finish(None).await.unwrap();
    }

    // Of each bucket's three files one is theirs, which the janitor does not see; one is of a job, and one of no job.
    let janitor = Janitor::new(blobs.clone(), suite.stack.jobs.clone());
    for (confirmed, deleted, kept) in [(false, 0, 3), (true, 1, 2)] {
        let report = janitor.cycle(confirmed).await.unwrap();
        assert_eq!(report.held_back, !confirmed, "{report}");
        for bucket in &report.buckets {
            assert_eq!(
                (bucket.files, bucket.unneeded, bucket.deleted),
                (2, 1, deleted),
                "{report}"
            );
            assert_eq!(blobs.count(bucket.bucket).await.unwrap(), kept);
        }
        for (bucket, fid) in &theirs {
            assert!(pymongo_get(&mongodb, *bucket, *fid).await.unwrap() == bytes, "{bucket}");
        }
    }
    let own = ada.download(record["mp3_fid"].as_str().unwrap()).await.unwrap();
    assert_eq!(own.status, 200, "a job's file survives as well");
    suite.stop().await;
}
