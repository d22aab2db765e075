//! A MongoDB of the test's own that freezes and is killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters::blobs::gridfs::GridFsBlobStore;
use adapters::jobs::MongoJobStore;
use anyhow::Result;
use bytes::Bytes;
use domain::{BlobStore, Bucket, Fid, JobStore, PortError, Step};
use testkit::conformance::blobs::support::{CHUNK_BYTES, new_blob, pattern, put, read_all};
use testkit::conformance::jobs::{ada, new_job, uploaded};
use testkit::servers::{MongoDb, Signal};
use testkit::until;
use tokio::time::timeout;

/// What a call may take at the most, and then some for a busy machine.
const BOUND: Duration = Duration::from_secs(60);

fn stores(server: &MongoDb) -> Result<(Arc<dyn JobStore>, Arc<dyn BlobStore>)> {
    let client = adapters::mongo::client(&server.url().parse()?)?;
    Ok((
        Arc::new(MongoJobStore::new(client.clone(), "")),
        Arc::new(GridFsBlobStore::new(client, "")),
    ))
}

/// Whether a call ended in time, and without an answer.
async fn is_unavailable<T>(call: impl Future<Output = Result<T, PortError>>) -> bool {
    let answer = timeout(BOUND, call).await.expect("ends in time");
    matches!(answer, Err(PortError::Unavailable { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_frozen_server_end_in_time_and_are_never_cut_off() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = MongoDb::start(directory.path()).await?;
    let (jobs, blobs) = stores(&server)?;
    let queued = new_job(ada());
    let queued_id = queued.id;
    jobs.create(queued).await?;
    assert!(jobs.commit_upload(queued_id, uploaded()).await?);
    let whole = new_blob();
    let bytes = pattern(0..3 * CHUNK_BYTES + 7);
    put(&*blobs, Bucket::Videos, &whole, &bytes).await;
    let cut = new_blob();
    let mut writer = blobs.put(Bucket::Videos, cut.clone()).await?;
    writer.write(Bytes::from(pattern(0..20 * CHUNK_BYTES))).await?;

    // Callers that leave half-way leave their calls running.
    server.process().signal(Signal::STOP);
    let mut left = Vec::new();
    for _ in 0..20 {
        let job = new_job(ada());
        left.push(job.id);
        let mut call = Box::pin(jobs.create(job));
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    server.process().signal(Signal::CONT);
    for id in left {
        until("the call that was left has ended", async || {
            jobs.get(id).await.ok().flatten()
        })
        .await;
    }

    // Callers that stay hear in time that nobody knows.
    server.process().signal(Signal::STOP);
    let mut writing = async || -> Result<(), PortError> {
        // The writer sends while it fills, so it is the second batch that has to wait.
        loop {
            writer.write(Bytes::from(pattern(0..20 * CHUNK_BYTES))).await?;
        }
    };
    let ended = tokio::join!(
        is_unavailable(jobs.create(new_job(ada()))),
        is_unavailable(jobs.claim_due(Step::Convert)),
        is_unavailable(jobs.ping()),
        is_unavailable(blobs.stat(Bucket::Videos, whole.id)),
        is_unavailable(blobs.delete(Bucket::Mp3s, Fid::new())),
        is_unavailable(writing()),
    );
    server.process().signal(Signal::CONT);
    assert_eq!(ended, (true, true, true, true, true, true));

    // And all goes on as if nothing had been, on connections that are as good as before.
    until("the server answers", async || jobs.ping().await.ok()).await;
    assert_eq!(read_all(&*blobs, Bucket::Videos, whole.id).await, bytes);
    assert!(writer.finish(None).await.is_err(), "bytes may be missing");
    assert_eq!(blobs.stat(Bucket::Videos, cut.id).await?, None);
    let parts = async || {
        let parts = blobs.list_unfinished(Bucket::Videos, None, 9).await.ok()?;
        parts.is_empty().then_some(())
    };
    until("nothing is left of it", parts).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut server = MongoDb::start(directory.path()).await?;
    let (jobs, blobs) = stores(&server)?;
    let records = Arc::new(Mutex::new(Vec::new()));
    let files = Arc::new(Mutex::new(BTreeMap::new()));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (jobs, records) = (Arc::clone(&jobs), Arc::clone(&records));
        writers.spawn(async move {
            loop {
                let job = new_job(ada());
                let id = job.id;
                if jobs.create(job).await.is_err() {
                    return;
                }
                records.lock().unwrap().push(id);
            }
        });
    }
    let (store, stored) = (Arc::clone(&blobs), Arc::clone(&files));
    writers.spawn(async move {
        for turn in 1.. {
            let blob = new_blob();
            let bytes = pattern(0..turn * 1_000);
            let finished = async {
                let mut writer = store.put(Bucket::Mp3s, blob.clone()).await?;
                writer.write(Bytes::from(bytes.clone())).await?;
                writer.finish(None).await
            };
            if finished.await.is_err() {
                return;
            }
            stored.lock().unwrap().insert(blob.id, bytes);
        }
    });
    until("there is something to lose", async || {
        let enough = records.lock().unwrap().len() >= 300 && files.lock().unwrap().len() >= 10;
        enough.then_some(())
    })
    .await;
    server.kill();
    writers.join_all().await;
    server.restart().await?;

    until("the server answers", async || jobs.ping().await.ok()).await;
    let records = std::mem::take(&mut *records.lock().unwrap());
    for id in records {
        assert!(jobs.get(id).await?.is_some(), "{id}");
    }
    let files = std::mem::take(&mut *files.lock().unwrap());
    for (id, bytes) in files {
        assert_eq!(read_all(&*blobs, Bucket::Mp3s, id).await, bytes);
    }
    Ok(())
}
