//! I1 and I4: what was answered with success has ended, and as it should; and I2 where a key names its upload.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Findings, owes_mail, text};
use crate::load::Load;

/// What is known of an upload outside.
#[derive(Clone, Copy)]
enum Heard {
    /// Its user heard success, and perhaps took the job back later.
    Success { taken_back: bool },
    /// Its user heard nothing, or of a failure.
    Nothing,
}

pub(super) fn check(load: &Load, jobs: &[Value], findings: &mut Findings) {
    let accepted = load.accepted();
    let by_id: BTreeMap<&str, &Value> = jobs.iter().map(|job| (text(job, "id"), job)).collect();
    for (id, job) in &accepted {
        if !by_id.contains_key(&**id) {
            findings.lost += 1;
            let what = format!("job {id} was accepted and is gone");
            findings.breach("I1", &[id, &job.filename], what);
        }
    }
    for job in jobs {
        let (id, filename) = (text(job, "id"), text(job, "filename"));
        let Some(clip) = load.clip(filename) else {
            let what = format!("job {id} is about `{filename}`, which nobody sent");
            findings.breach("I1", &[id, filename], what);
            continue;
        };
        let heard = accepted.get(id).map_or(Heard::Nothing, |accepted| Heard::Success {
            taken_back: accepted.taken_back,
        });
        if let Some(invariant) = broken(clip.plays.is_some(), heard, job) {
            let is_lost = invariant == "I1" && matches!(heard, Heard::Success { .. });
            findings.lost += usize::from(is_lost);
            let whether = if matches!(heard, Heard::Nothing) {
                ", never accepted,"
            } else {
                ""
            };
            let what = format!(
                "job {id} ({}){whether} is {}: {}",
                clip.name,
                text(job, "state"),
                job["reason"]
            );
            findings.breach(invariant, &[id, filename], what);
        }
    }
}

/// The invariant that a job breaks whose upload was a good file, or one that nothing can be made of.
fn broken(is_good: bool, heard: Heard, job: &Value) -> Option<&'static str> {
    let is_interrupted = job["state"] == "failed" && !owes_mail(job);
    match (job["state"].as_str(), heard) {
        (Some("cancelled"), Heard::Success { taken_back: true }) => None,
        // Whoever was not told of success tries again: of this try there may be nothing. But never half of it: a good
        // file that arrived in part is `failed` as a poor one.
        (Some("failed"), Heard::Nothing) if is_interrupted => None,
        (Some("done"), _) if is_good => None,
        (Some("failed"), _) if !is_good && !is_interrupted => None,
        (Some("done"), _) => Some("I4"),
        (Some("failed"), _) if !is_interrupted => Some("I4"),
        _ => Some("I1"),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(state: &str, code: Option<&str>) -> Value {
        json!({ "state": state, "reason": code.map(|code| json!({ "code": code })) })
    }

    const ACCEPTED: Heard = Heard::Success { taken_back: false };

    #[test]
    fn a_good_upload_is_never_failed_for_its_own_fault_whether_it_was_accepted_or_not() {
        for heard in [ACCEPTED, Heard::Nothing] {
            assert_eq!(broken(true, heard, &job("failed", Some("damaged"))), Some("I4"));
            assert_eq!(broken(true, heard, &job("done", None)), None);
        }
    }

    #[test]
    fn only_what_was_not_accepted_may_have_been_interrupted() {
        let interrupted = job("failed", Some("upload_interrupted"));
        assert_eq!(broken(true, Heard::Nothing, &interrupted), None);
        assert_eq!(broken(true, ACCEPTED, &interrupted), Some("I1"));
        assert_eq!(broken(false, ACCEPTED, &interrupted), Some("I1"));
    }

    #[test]
    fn nothing_stays_half_done() {
        for state in ["receiving", "queued", "converting", "dead"] {
            for heard in [ACCEPTED, Heard::Nothing] {
                assert_eq!(broken(true, heard, &job(state, None)), Some("I1"), "{state}");
            }
        }
        assert_eq!(broken(true, Heard::Nothing, &job("cancelled", None)), Some("I1"));
        assert_eq!(
            broken(true, Heard::Success { taken_back: true }, &job("cancelled", None)),
            None
        );
    }

    #[test]
    fn poison_fails() {
        assert_eq!(broken(false, ACCEPTED, &job("failed", Some("damaged"))), None);
        assert_eq!(broken(false, ACCEPTED, &job("done", None)), Some("I4"));
    }
}
