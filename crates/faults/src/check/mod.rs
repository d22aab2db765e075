//! The invariants, once everything has come to rest.
//!
//! | | |
//! |---|---|
//! | I1 | what was answered with success has ended, `done` or `failed` with a reason; nothing is half |
//! | I2 | `done` is one MP3: it downloads whole, equal for equal uploads, decodes, and plays as long as the upload |
//! | I3 | after one cycle of the janitor the stores hold exactly the files of the records |
//! | I4 | no good upload failed, every poisonous one did |
//! | I5 | each verdict was mailed to its owner, under one Message-ID, and twice only where a fault explains it |
//! | I6 | the queues are empty, dead letters are the garbage that was injected |
//! | I7 | the waits are measured, see `recovery` |
//! | I8 | memory is watched beside, see `memory` |

mod downloads;
mod mails;
mod queues;
mod recovery;
mod rest;
mod stores;
mod verdicts;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::load::Load;
use crate::report::Window;
use crate::say;

pub(crate) use rest::quiesce;

const POLL: Duration = Duration::from_secs(1);

/// A broken invariant.
pub(crate) struct Breach {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
    /// The words that lead to its story in the ledger.
    pub(crate) words: Vec<String>,
}

/// What was counted on the way.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) breaches: Vec<Breach>,
    pub(crate) jobs: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) orphans: usize,
    pub(crate) mails: usize,
    pub(crate) copies: usize,
    pub(crate) recovery: recovery::Recovery,
    /// What the janitor said.
    pub(crate) janitor: String,
}

impl Findings {
    pub(crate) fn breach(&mut self, invariant: &'static str, words: &[&str], what: String) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.breaches.push(Breach { invariant, what, words });
    }

    /// Says each breach, with the story of its job.
    pub(crate) fn say_breaches(&self, load: &Load) {
        for breach in &self.breaches {
            say(format!("BROKEN {}: {}", breach.invariant, breach.what));
            let words: Vec<&str> = breach.words.iter().map(String::as_str).collect();
            if !words.is_empty() {
                let story = load.ledger.story(&words);
                story.iter().for_each(|line| say(format!("    {line}")));
            }
        }
    }
}

/// Checks everything. `faults` are those injected, and when.
///
/// # Errors
/// Something could not even be looked at.
pub(crate) async fn check(load: &Load, faults: &[Window], scratch: &Path) -> anyhow::Result<Findings> {
    let mut findings = Findings {
        janitor: load.home.janitor().await?,
        ..Findings::default()
    };
    let jobs = everything(load).await?;
    findings.jobs = load.accepted().len();
    verdicts::check(load, &jobs, &mut findings);
    verdicts::check_keys(load, &jobs, &mut findings);
    downloads::check(load, &jobs, scratch, &mut findings).await?;
    stores::check(load, &jobs, &mut findings).await?;
    mails::check(load, &jobs, faults, &mut findings);
    recovery::check(load, faults, &mut findings);
    queues::check(load, faults, &mut findings).await?;
    Ok(findings)
}

async fn everything(load: &Load) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for owner in 0..load.tokens.len() {
        for mut job in load.all(owner).await? {
            job["owner"] = owner.into();
            all.push(job);
        }
    }
    Ok(all)
}

/// Who broke off an upload knows it, everybody else is told.
fn owes_mail(job: &Value) -> bool {
    match job["state"].as_str() {
        Some("done" | "dead") => true,
        Some("failed") => job["reason"]["code"] != "upload_interrupted",
        _ => false,
    }
}

fn text<'a>(job: &'a Value, field: &str) -> &'a str {
    job[field].as_str().unwrap_or_default()
}
