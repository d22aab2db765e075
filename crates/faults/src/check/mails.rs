//! I5: each verdict was mailed, once, or twice for a reason.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::{Findings, owes_mail, text};
use crate::load::Load;
use crate::report::Window;

/// How long a claim holds: within it, a fault is why a mail went out again.
const LEASE: Duration = Duration::from_secs(45);

pub(super) fn check(load: &Load, jobs: &[Value], faults: &[Window], findings: &mut Findings) {
    let mails = load.home.sink().mails();
    findings.mails = mails.len();
    for job in jobs {
        let id = text(job, "id");
        let words = [id, text(job, "filename")];
        let fid = job["mp3_fid"].as_str().unwrap_or("none");
        let first_line = format!("mp3 file_id: {fid} is now ready!");
        let about = format!("Job:      {id}");
        let mut mine: Vec<_> = mails
            .iter()
            .filter(|mail| {
                mail.text.contains(&first_line) || mail.text.contains(&about) || mail.message_id.contains(id)
            })
            .collect();
        mine.sort_by_key(|mail| mail.at);
        let ids: BTreeSet<&str> = mine.iter().map(|mail| &*mail.message_id).collect();
        if owes_mail(job) && mine.is_empty() {
            findings.breach("I5", &words, format!("the owner of job {id} was never told"));
        }
        if !owes_mail(job) && !mine.is_empty() {
            findings.breach(
                "I5",
                &words,
                format!("the owner of job {id}, {}, was told", text(job, "state")),
            );
        }
        let usual = format!("<{id}.{}@", text(job, "state"));
        if ids.iter().any(|id| !id.starts_with(&usual)) {
            findings.breach(
                "I5",
                &words,
                format!("job {id} was mailed about under {ids:?}, so copies are not told apart"),
            );
        }
        if ids.len() > 1 {
            findings.breach("I5", &words, format!("job {id} was mailed about under {ids:?}"));
        }
        if job["state"] == "done" && mine.iter().any(|mail| !mail.text.contains(&first_line)) {
            findings.doubled += 1;
            findings.breach(
                "I5",
                &words,
                format!("a mail about job {id} names another MP3 than {fid}"),
            );
        }
        for pair in mine.windows(2) {
            findings.copies += 1;
            let explained = faults.iter().any(|window| {
                window.fault.excuses_a_copy()
                    && window.began <= pair[0].at + LEASE
                    && pair[0].at <= window.ended + LEASE
            });
            if !explained || !pair[0].taken {
                findings.breach(
                    "I5",
                    &words,
                    format!("the owner of job {id} was told twice for no reason"),
                );
            }
        }
    }
}
