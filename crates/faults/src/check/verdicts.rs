//! I1 and I4: what was answered with success has ended, and as it should; and I2 where a key names its upload.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Findings, owes_mail, text};
use crate::load::Load;

pub(super) fn check(load: &Load, jobs: &[Value], findings: &mut Findings) {
    let by_id: BTreeMap<&str, &Value> = jobs.iter().map(|job| (text(job, "id"), job)).collect();
    for (id, accepted) in load.accepted() {
        let words = [id.as_str(), accepted.filename.as_str()];
        let Some(job) = by_id.get(&*id) else {
            findings.lost += 1;
            findings.breach("I1", &words, format!("job {id} was accepted and is gone"));
            continue;
        };
        // Whoever takes a job back may be too late.
        if accepted.taken_back && job["state"] == "cancelled" {
            continue;
        }
        let as_it_should = match accepted.clip.plays {
            Some(_) => job["state"] == "done",
            None => job["state"] == "failed" && owes_mail(job),
        };
        if !as_it_should {
            let ended = job["state"] == "done" || (job["state"] == "failed" && owes_mail(job));
            findings.lost += usize::from(!ended);
            let invariant = if ended { "I4" } else { "I1" };
            let what = format!(
                "job {id} ({}) is {}: {}",
                accepted.clip.name,
                text(job, "state"),
                job["reason"]
            );
            findings.breach(invariant, &words, what);
        }
    }
    for job in jobs {
        if !matches!(job["state"].as_str(), Some("done" | "failed" | "cancelled"))
            && !load.accepted().contains_key(text(job, "id"))
        {
            let what = format!(
                "job {} was never accepted and is {}",
                text(job, "id"),
                text(job, "state")
            );
            findings.breach("I1", &[text(job, "id"), text(job, "filename")], what);
        }
    }
}

/// Uploads sent twice under one key: one job for each.
pub(super) fn check_keys(load: &Load, jobs: &[Value], findings: &mut Findings) {
    for filename in load.keyed() {
        let came_of_it = jobs
            .iter()
            .filter(|job| text(job, "filename") == filename && job["reason"]["code"] != "upload_interrupted");
        let count = came_of_it.count();
        if count > 1 {
            findings.doubled += 1;
            let what = format!("`{filename}`, sent under one key, became {count} jobs");
            findings.breach("I2", &[&filename], what);
        }
    }
}
