//! Looks for files that nobody needs, and deletes them with great care.
//!
//! It deletes finished files with our `metadata.writer` that no job refers to, or that a job calls lost; parts of
//! uploads and attempts that the records call lost; and parts of files nobody knows once they are a day old. Never a
//! finished file of the original system. When one cycle would delete more than a tenth of our files in a bucket, or more
//! than 100 files, the records are more likely wrong than the files: it deletes nothing, says so, and waits for
//! `gateway janitor --confirm`.
//!
//! A cycle is a slow pass in small batches. Several at once are harmless: each looks again before it deletes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{Blob, BlobStore, Bucket, Fid, JobStore, PortError, Reference, Timestamp};
use runtime::Lifecycle;

use crate::GatewayState;
use crate::metrics::GatewayMetrics;

/// When the first cycle begins: not while a cluster is starting.
const FIRST: Duration = Duration::from_secs(5 * 60);
/// How long from one cycle to the next.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// How many files are looked at together.
const BATCH: u32 = 200;
/// The rest between two batches.
const REST: Duration = Duration::from_millis(50);
/// From when on parts of a file nobody knows are no upload in flight.
const FORGOTTEN_AFTER_SECONDS: i64 = 24 * 60 * 60;
/// The most files of a cycle.
const MAX_FILES: usize = 100;
/// The largest share of a bucket of a cycle: one in so many files.
const MAX_SHARE: u64 = 10;

/// The janitor of both buckets.
#[derive(Clone)]
pub struct Janitor {
    blobs: Arc<dyn BlobStore>,
    jobs: Arc<dyn JobStore>,
    metrics: Option<GatewayMetrics>,
}

/// What a cycle found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// By bucket.
    pub buckets: Vec<BucketReport>,
    /// Nothing was deleted, since it would have been too much.
    pub held_back: bool,
}

/// What a cycle found in one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketReport {
    /// Which.
    pub bucket: Bucket,
    /// How many files of ours there are, and unfinished ones. Foreign files do not count: however many lie beside ours,
    /// an emptied job store must not look like a small share.
    pub files: u64,
    /// How many of them nobody needs.
    pub unneeded: u64,
    /// How many were deleted.
    pub deleted: u64,
}

/// The files of one bucket that nobody needs.
struct Found {
    bucket: Bucket,
    files: u64,
    finished: Vec<Fid>,
    unfinished: Vec<Fid>,
}

impl Janitor {
    /// A janitor of these stores.
    pub fn new(blobs: Arc<dyn BlobStore>, jobs: Arc<dyn JobStore>) -> Self {
        let metrics = None;
        Self { blobs, jobs, metrics }
    }

    pub(crate) fn of(state: &GatewayState) -> Self {
        Self {
            blobs: Arc::clone(&state.blobs),
            jobs: Arc::clone(&state.jobs),
            metrics: Some(state.metrics.clone()),
        }
    }

    /// A cycle some minutes from now and then daily, until the life stops.
    pub async fn run(self, life: Lifecycle) {
        let stopping = life.stopping();
        let mut wait = FIRST;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = PERIOD;
            let cycle = tokio::select! {
                () = stopping.cancelled() => return,
                cycle = self.cycle(false) => cycle,
            };
            match cycle {
                Ok(report) if report.held_back => tracing::warn!(%report, "the janitor deleted nothing"),
                Ok(report) => tracing::info!(%report, "the janitor went round"),
                Err(error) => {
                    let error = domain::Chain(&error).to_string();
                    tracing::warn!(error, "the janitor could not go round");
                }
            }
        }
    }

    /// Goes round once. `confirmed` deletes however much it is.
    ///
    /// # Errors
    /// A store is away; some of the files may be deleted.
    pub async fn cycle(&self, confirmed: bool) -> Result<Report, PortError> {
        let mut found = Vec::new();
        for bucket in Bucket::ALL {
            found.push(self.find(bucket).await?);
        }
        let held_back = !confirmed && is_too_much(&found);
        let mut buckets = Vec::new();
        for found in &found {
            buckets.push(BucketReport {
                bucket: found.bucket,
                files: found.files,
                unneeded: found.unneeded() as u64,
                deleted: if held_back { 0 } else { self.delete(found).await? },
            });
        }
        let report = Report { buckets, held_back };
        self.count(&report);
        Ok(report)
    }

    async fn find(&self, bucket: Bucket) -> Result<Found, PortError> {
        let mut found = Found {
            bucket,
            files: 0,
            finished: Vec::new(),
            unfinished: Vec::new(),
        };
        let mut after = None;
        loop {
            let batch = self.blobs.list_ours(bucket, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            let ids: Vec<Fid> = batch.iter().filter(|blob| blob.ours).map(|blob| blob.id).collect();
            found.files += ids.len() as u64;
            found.finished.extend(self.unreferenced(bucket, &ids).await?);
            tokio::time::sleep(REST).await;
        }
        let mut after = None;
        loop {
            let batch = self.blobs.list_unfinished(bucket, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(*last);
            found.files += batch.len() as u64;
            found.unfinished.extend(self.forgotten(bucket, &batch).await?);
            tokio::time::sleep(REST).await;
        }
        Ok(found)
    }

    /// Which of these finished files of ours no job needs.
    async fn unreferenced(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Fid>, PortError> {
        let references = self.references(bucket, ids).await?;
        Ok(references
            .filter(|(_, reference)| *reference != Reference::Live)
            .map(|(id, _)| id)
            .collect())
    }

    /// Which of these unfinished files will never be finished.
    async fn forgotten(&self, bucket: Bucket, ids: &[Fid]) -> Result<Vec<Fid>, PortError> {
        let now_seconds = Timestamp::now().unix_ms() / 1000;
        let age_seconds = |id: Fid| now_seconds - i64::from(id.created_unix_seconds());
        let references = self.references(bucket, ids).await?;
        Ok(references
            .filter(|(id, reference)| match reference {
                Reference::Live => false,
                Reference::Lost => true,
                Reference::Unknown => age_seconds(*id) > FORGOTTEN_AFTER_SECONDS,
            })
            .map(|(id, _)| id)
            .collect())
    }

    async fn references<'a>(
        &self,
        bucket: Bucket,
        ids: &'a [Fid],
    ) -> Result<impl Iterator<Item = (Fid, Reference)> + 'a, PortError> {
        let references = self.jobs.references(bucket, ids).await?;
        if references.len() != ids.len() {
            let what = format!("{} answers about {} files", references.len(), ids.len());
            return Err(PortError::corrupt("ask who needs files", what));
        }
        Ok(ids.iter().copied().zip(references))
    }

    /// Deletes what was found and is still as it was found.
    async fn delete(&self, found: &Found) -> Result<u64, PortError> {
        let bucket = found.bucket;
        let mut deleted = 0;
        for ids in found.finished.chunks(BATCH as usize) {
            for id in self.unreferenced(bucket, ids).await? {
                if self.blobs.stat(bucket, id).await?.is_some_and(|blob| blob.ours) {
                    self.delete_one(bucket, id).await?;
                    deleted += 1;
                }
            }
        }
        for ids in found.unfinished.chunks(BATCH as usize) {
            for id in self.forgotten(bucket, ids).await? {
                // A foreign writer may have finished it in the meantime: then it is a foreign file.
                let is_foreign = |blob: Blob| !blob.ours;
                if !self.blobs.stat(bucket, id).await?.is_some_and(is_foreign) {
                    self.delete_one(bucket, id).await?;
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    async fn delete_one(&self, bucket: Bucket, id: Fid) -> Result<(), PortError> {
        self.blobs.delete(bucket, id).await?;
        tracing::info!(%bucket, blob.id = %id, "deleted a file that nobody needs");
        Ok(())
    }

    fn count(&self, report: &Report) {
        let Some(metrics) = &self.metrics else { return };
        let sum = |of: fn(&BucketReport) -> u64| report.buckets.iter().map(of).sum::<u64>();
        metrics.janitor_deleted.inc_by(sum(|bucket| bucket.deleted));
        let waiting = if report.held_back {
            sum(|bucket| bucket.unneeded)
        } else {
            0
        };
        metrics.janitor_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

impl Found {
    fn unneeded(&self) -> usize {
        self.finished.len() + self.unfinished.len()
    }
}

fn is_too_much(found: &[Found]) -> bool {
    let is_large_share = |found: &Found| found.unneeded() as u64 * MAX_SHARE > found.files;
    found.iter().map(Found::unneeded).sum::<usize>() > MAX_FILES || found.iter().any(is_large_share)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bucket in &self.buckets {
            let BucketReport {
                bucket,
                files,
                unneeded,
                deleted,
            } = bucket;
            write!(
                f,
                "{bucket}: {files} files, {unneeded} that nobody needs, {deleted} deleted; "
            )?;
        }
        if self.held_back {
            f.write_str("that is more than a tenth of our files in a bucket or than 100 files, so nothing was deleted: if the job records are complete, run `gateway janitor --confirm`, or `mp3converter janitor --confirm` in the single process")
        } else {
            f.write_str("all is well")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: u64, unneeded: usize) -> Found {
        Found {
            bucket: Bucket::Videos,
            files,
            finished: (0..unneeded).map(|_| Fid::new()).collect(),
            unfinished: Vec::new(),
        }
    }

    #[test]
    fn a_tenth_of_a_bucket_or_a_hundred_files_is_as_far_as_it_goes() {
        assert!(!is_too_much(&[found(0, 0), found(100, 10)]));
        assert!(is_too_much(&[found(100, 0), found(100, 11)]));
        assert!(is_too_much(&[found(0, 0), found(1, 1)]));
        assert!(!is_too_much(&[found(1000, 50), found(1000, 50)]));
        assert!(is_too_much(&[found(1000, 51), found(1000, 50)]));
    }
}
