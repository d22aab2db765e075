//! I3: the stores hold the files of the records and nothing else; and I2, that no job has a second MP3.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, text};
use crate::load::Load;

/// Looks into both buckets.
///
/// # Errors
/// They cannot be read.
pub(super) async fn check(load: &Load, jobs: &[Value], findings: &mut Findings) -> anyhow::Result<()> {
    let stores = load.home.stores().await?;
    // What was taken back is not needed any more.
    let unneeded = |job: &&Value| matches!(job["reason"]["code"].as_str(), Some("upload_interrupted" | "cancelled"));
    let uploaded = jobs.iter().filter(|job| !unneeded(job));
    let videos: BTreeSet<&str> = uploaded.map(|job| text(job, "id")).collect();
    let mp3s: BTreeSet<&str> = jobs.iter().filter_map(|job| job["mp3_fid"].as_str()).collect();
    for (bucket, files, expected) in [("videos", &stores.videos, videos), ("mp3s", &stores.mp3s, mp3s)] {
        let there: BTreeSet<&str> = files.whole.keys().map(String::as_str).collect();
        for fid in there.difference(&expected) {
            findings.orphans += 1;
            findings.breach("I3", &[fid], format!("{bucket} has file {fid}, which no job needs"));
        }
        for fid in expected.difference(&there) {
            findings.lost += 1;
            findings.breach("I3", &[fid], format!("{bucket} lacks file {fid} of a job"));
        }
        for fid in &files.spoilt {
            findings.orphans += 1;
            findings.breach(
                "I3",
                &[fid],
                format!("{bucket} has chunks of {fid} that are no whole file"),
            );
        }
    }
    let mut by_job: BTreeMap<&str, usize> = BTreeMap::new();
    for job in stores.mp3s.whole.values() {
        *by_job.entry(job).or_default() += 1;
    }
    for (job, count) in by_job.into_iter().filter(|(_, count)| *count > 1) {
        findings.doubled += 1;
        findings.breach("I2", &[job], format!("job {job} has {count} MP3s"));
    }
    Ok(())
}
