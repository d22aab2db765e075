//! Three MongoDB servers, whose primary is deposed and killed under uploads and claims.

#![expect(clippy::unwrap_used, reason = "the steps fail as tests do: by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters::blobs::gridfs::GridFsBlobStore;
use adapters::jobs::MongoJobStore;
use anyhow::Result;
use bytes::Bytes;
use domain::{BlobStore, Bucket, Fid, JobState, JobStore, NewBlob, PortError, Step};
use futures_util::future::join_all;
use testkit::conformance::blobs::support::{CHUNK_BYTES, new_blob, pattern, read_all};
use testkit::conformance::jobs::{ada, attempt_of, converted, new_job, uploaded};
use testkit::servers::MongoDbSet;
use testkit::until;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What a call may take at the most, and then some for a busy machine.
const BOUND: Duration = Duration::from_secs(60);
const CLIENTS: usize = 4;

/// What was acknowledged.
#[derive(Default)]
struct Ledger {
    committed: BTreeSet<Fid>,
    files: BTreeMap<Fid, Vec<u8>>,
    /// Of each job, the attempts that were told to have settled it.
    settled: BTreeMap<Fid, BTreeSet<Fid>>,
}

#[derive(Clone)]
struct Client {
    jobs: Arc<dyn JobStore>,
    blobs: Arc<dyn BlobStore>,
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
}

/// Repeats a call until it is answered, as the store's contract allows.
async fn answered<T>(mut call: impl AsyncFnMut() -> Result<T, PortError>) -> T {
    until("the call is answered", async || {
        match timeout(BOUND, call()).await.expect("ends in time") {
            Ok(answer) => Some(answer),
            Err(PortError::Unavailable { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

impl Client {
    /// Stores a file whole. None when nobody knows: its id is never used again.
    async fn store(&self, blob: NewBlob, bytes: &[u8]) -> Option<Fid> {
        let id = blob.id;
        let stored = async {
            let mut writer = self.blobs.put(Bucket::Videos, blob).await?;
            writer.write(Bytes::copy_from_slice(bytes)).await?;
            writer.finish(None).await
        };
        timeout(BOUND, stored).await.expect("ends in time").ok().map(|_| id)
    }

    /// Uploads as the gateway does, one after the other.
    async fn upload(self) {
        while !self.stop.is_cancelled() {
            let job = new_job(ada());
            let id = job.id;
            if self.jobs.create(job).await.is_err() {
                continue;
            }
            let bytes = pattern(0..CHUNK_BYTES + 7);
            let Some(id) = self.store(NewBlob { id, ..new_blob() }, &bytes).await else {
                continue;
            };
            if answered(async || self.jobs.commit_upload(id, uploaded()).await).await {
                let mut ledger = self.ledger.lock().unwrap();
                ledger.committed.insert(id);
                ledger.files.insert(id, bytes);
            }
        }
    }

    /// Converts as the converter does: whatever is due.
    async fn convert(self) {
        loop {
            let claim = match timeout(BOUND, self.jobs.claim_due(Step::Convert))
                .await
                .expect("ends in time")
            {
                Ok(Some(claim)) => claim,
                Ok(None) if self.stop.is_cancelled() => return,
                _ => {
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let held = answered(async || self.jobs.renew(&claim, Some(0.5)).await).await;
            if held && answered(async || self.jobs.settle(&claim, converted(&claim)).await).await {
                let mut ledger = self.ledger.lock().unwrap();
                ledger
                    .settled
                    .entry(claim.job.id)
                    .or_default()
                    .insert(attempt_of(&claim));
            }
        }
    }

    /// Waits until so many more jobs were converted.
    async fn goes_on(&self) {
        let count = || self.ledger.lock().unwrap().settled.len();
        let before = count();
        until("the work goes on", async || (count() >= before + 20).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_between_three_servers_loses_nothing_that_was_acknowledged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut set = Box::pin(MongoDbSet::start(directory.path())).await?;
    let mongo = adapters::mongo::client(&set.url().parse()?)?;
    let client = Client {
        jobs: Arc::new(MongoJobStore::new(mongo.clone(), "")),
        blobs: Arc::new(GridFsBlobStore::new(mongo, "")),
        ledger: Arc::default(),
        stop: CancellationToken::new(),
    };
    let work = (0..CLIENTS).map(|_| async {
        tokio::join!(client.clone().upload(), client.clone().convert());
    });
    let failovers = async {
        let _end_of_work = client.stop.clone().drop_guard();
        client.goes_on().await;
        set.depose().await?;
        client.goes_on().await;
        set.kill_primary().await?;
        client.goes_on().await;
        set.depose().await?;
        client.goes_on().await;
        anyhow::Ok(())
    };
    let (_, failed_over) = Box::pin(async { tokio::join!(join_all(work), failovers) }).await;
    failed_over?;

    // What nobody settled came last, or was claimed by an answer that got lost, and is due when its lease ends.
    let ledger = std::mem::take(&mut *client.ledger.lock().unwrap());
    for id in &ledger.committed {
        let job = answered(async || client.jobs.get(*id).await)
            .await
            .expect("an acknowledged job");
        let settled = ledger.settled.get(id);
        match settled {
            Some(attempts) => {
                assert_eq!((job.state, attempts.len()), (JobState::Done, 1), "{attempts:?}");
                assert_eq!(job.mp3.map(|mp3| mp3.fid), attempts.first().copied());
            }
            None => assert!([JobState::Queued, JobState::Converting].contains(&job.state)),
        }
    }
    for (id, bytes) in &ledger.files {
        assert_eq!(&read_all(&*client.blobs, Bucket::Videos, *id).await, bytes);
    }
    Ok(())
}
