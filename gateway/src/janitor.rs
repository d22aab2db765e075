//! Looks for files that nobody needs, and deletes them with great care.
//!
//! What our own records call lost goes at once, however much it is: remains of uploads and attempts that came to
//! nothing, videos of cancelled jobs, and those that were to go once their MP3 was done. A finished file of ours whose
//! job no record knows is never deleted unasked: an emptied or restored job store must cost nobody a byte. Parts of
//! files nobody knows go once they are a day old, unless they are more than a tenth of our files in a bucket, or more
//! than 100. What is held back waits for `gateway janitor --confirm`. Finished files of the original system are never
//! touched.
//!
//! A cycle is a slow pass in small batches. Several at once are harmless: each looks again before it deletes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{BlobStore, Bucket, Fid, JobStore, PortError, Reference, Timestamp};
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
/// The most parts of unknown files that a cycle deletes.
const MAX_FORGOTTEN: usize = 100;
/// The largest share of a bucket that they may be: one in so many files.
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
    /// Some files wait for `gateway janitor --confirm`.
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
    /// How many of them wait to be confirmed.
    pub waiting: u64,
    /// How many could not be deleted now.
    pub failed: u64,
}

/// Why nobody needs a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Our records call it lost; finished or not.
    Lost,
    /// A finished file of ours that no record knows.
    Unknown,
    /// Parts without a file that no record knows, a day old.
    Forgotten,
}

/// The files of one bucket that nobody needs.
struct Found {
    bucket: Bucket,
    files: u64,
    unneeded: Vec<(Fid, Why)>,
}

impl Janitor {
    /// A janitor of these stores.
    pub fn new(blobs: Arc<dyn BlobStore>, jobs: Arc<dyn JobStore>) -> Self {
        #[cfg(feature = "crashpoints")]
        let blobs = runtime::crashpoints::blobs("janitor", blobs);
        #[cfg(feature = "crashpoints")]
        let jobs = runtime::crashpoints::jobs("janitor", jobs);
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
                Ok(report) if report.held_back => tracing::warn!(%report, "the janitor held files back"),
                Ok(report) => tracing::info!(%report, "the janitor went round"),
                Err(error) => {
                    let error = domain::Chain(&error).to_string();
                    tracing::warn!(error, "the janitor could not go round");
                }
            }
        }
    }

    /// Goes round once. `confirmed` deletes what no record knows, too, however much it is.
    ///
    /// # Errors
    /// A store does not answer; some of the files may be deleted. A file that cannot be deleted is none: it is counted
    /// and logged, and the next cycle tries again.
    pub async fn cycle(&self, confirmed: bool) -> Result<Report, PortError> {
        let mut found = Vec::new();
        for bucket in Bucket::ALL {
            found.push(self.find(bucket).await?);
        }
        let too_much = forgotten_is_too_much(&found);
        let allowed = |why| match why {
            Why::Lost => true,
            Why::Unknown => confirmed,
            Why::Forgotten => confirmed || !too_much,
        };
        let mut buckets = Vec::new();
        for found in &found {
            let (to_delete, waiting): (Vec<_>, Vec<_>) = found.unneeded.iter().partition(|(_, why)| allowed(*why));
            let (deleted, failed) = self.delete(found.bucket, &to_delete).await?;
            buckets.push(BucketReport {
                bucket: found.bucket,
                files: found.files,
                unneeded: found.unneeded.len() as u64,
                deleted,
                waiting: waiting.len() as u64,
                failed,
            });
        }
        let held_back = buckets.iter().any(|bucket| bucket.waiting > 0);
        let report = Report { buckets, held_back };
        self.count(&report);
        Ok(report)
    }

    async fn find(&self, bucket: Bucket) -> Result<Found, PortError> {
        let mut found = Found {
            bucket,
            files: 0,
            unneeded: Vec::new(),
        };
        let mut after = None;
        loop {
            let batch = self.blobs.list_ours(bucket, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id);
            let ids: Vec<Fid> = batch.iter().filter(|blob| blob.ours).map(|blob| blob.id).collect();
            found.files += ids.len() as u64;
            let references = self.references(bucket, &ids).await?;
            found
                .unneeded
                .extend(references.filter_map(|(id, reference)| match reference {
                    Reference::Live => None,
                    Reference::Lost => Some((id, Why::Lost)),
                    Reference::Unknown => Some((id, Why::Unknown)),
                }));
            tokio::time::sleep(REST).await;
        }
        let mut after = None;
        loop {
            let batch = self.blobs.list_unfinished(bucket, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(*last);
            found.files += batch.len() as u64;
            let references = self.references(bucket, &batch).await?;
            found
                .unneeded
                .extend(references.filter_map(|(id, reference)| match reference {
                    Reference::Live => None,
                    Reference::Lost => Some((id, Why::Lost)),
                    Reference::Unknown => is_forgotten(id).then_some((id, Why::Forgotten)),
                }));
            tokio::time::sleep(REST).await;
        }
        Ok(found)
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

    /// Deletes what was found and is still as it was found; says how many that were, and how many could not be deleted.
    async fn delete(&self, bucket: Bucket, unneeded: &[(Fid, Why)]) -> Result<(u64, u64), PortError> {
        let (mut deleted, mut failed) = (0, 0);
        for batch in unneeded.chunks(BATCH as usize) {
            let ids: Vec<Fid> = batch.iter().map(|(id, _)| *id).collect();
            let references = self.references(bucket, &ids).await?;
            for ((id, reference), (_, why)) in references.zip(batch) {
                match self.delete_one(bucket, id, reference, *why).await {
                    Ok(true) => deleted += 1,
                    Ok(false) => {}
                    Err(error) => {
                        failed += 1;
                        let error = domain::Chain(&error).to_string();
                        tracing::warn!(%bucket, blob.id = %id, error, "cannot delete a file that nobody needs yet");
                    }
                }
            }
        }
        Ok((deleted, failed))
    }

    async fn delete_one(&self, bucket: Bucket, id: Fid, reference: Reference, why: Why) -> Result<bool, PortError> {
        let file = self.blobs.stat(bucket, id).await?;
        let still = match why {
            // A foreign writer may have finished it in the meantime: then it is a foreign file.
            Why::Lost => reference == Reference::Lost && file.is_none_or(|file| file.ours),
            Why::Unknown => reference == Reference::Unknown && file.is_some_and(|file| file.ours),
            // Finished in the meantime, it is a file.
            Why::Forgotten => reference == Reference::Unknown && file.is_none(),
        };
        if still {
            self.blobs.delete(bucket, id).await?;
            tracing::info!(%bucket, blob.id = %id, ?why, "deleted a file that nobody needs");
        }
        Ok(still)
    }

    fn count(&self, report: &Report) {
        let Some(metrics) = &self.metrics else { return };
        let sum = |of: fn(&BucketReport) -> u64| report.buckets.iter().map(of).sum::<u64>();
        metrics.janitor_deleted.inc_by(sum(|bucket| bucket.deleted));
        let waiting = sum(|bucket| bucket.waiting);
        metrics.janitor_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

/// Parts that are too old to be an upload in flight.
fn is_forgotten(id: Fid) -> bool {
    let now_seconds = Timestamp::now().unix_ms() / 1000;
    now_seconds - i64::from(id.created_unix_seconds()) > FORGOTTEN_AFTER_SECONDS
}

fn forgotten_is_too_much(found: &[Found]) -> bool {
    let forgotten = |found: &Found| {
        let unneeded = found.unneeded.iter();
        unneeded.filter(|(_, why)| *why == Why::Forgotten).count()
    };
    let is_large_share = |found: &Found| forgotten(found) as u64 * MAX_SHARE > found.files;
    found.iter().map(forgotten).sum::<usize>() > MAX_FORGOTTEN || found.iter().any(is_large_share)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bucket in &self.buckets {
            let BucketReport {
                bucket,
                files,
                unneeded,
                deleted,
                waiting,
                failed,
            } = bucket;
            write!(
                f,
                "{bucket}: {files} files, {unneeded} that nobody needs, {deleted} deleted, {waiting} held back, {failed} \
                 could not be deleted; "
            )?;
        }
        if self.held_back {
            f.write_str("of what is held back no job record knows: if the records are complete, run `gateway janitor --confirm`, or `mp3converter janitor --confirm` in the single process")
        } else {
            f.write_str("all is well")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: u64, forgotten: usize) -> Found {
        Found {
            bucket: Bucket::Videos,
            files,
            unneeded: (0..forgotten)
                .map(|_| (Fid::new(), Why::Forgotten))
                .chain((0..50).map(|_| (Fid::new(), Why::Lost)))
                .collect(),
        }
    }

    #[test]
    fn a_tenth_of_a_bucket_or_a_hundred_forgotten_files_is_as_far_as_it_goes() {
        assert!(!forgotten_is_too_much(&[found(0, 0), found(100, 10)]));
        assert!(forgotten_is_too_much(&[found(100, 0), found(100, 11)]));
        assert!(forgotten_is_too_much(&[found(0, 0), found(1, 1)]));
        assert!(!forgotten_is_too_much(&[found(1000, 50), found(1000, 50)]));
        assert!(forgotten_is_too_much(&[found(1000, 51), found(1000, 50)]));
    }
}
