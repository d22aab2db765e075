//! The invariants, once everything has come to rest.
//!
//! | | |
//! |---|---|
//! | I1 | what was answered with success has ended, `done` or `failed` with a reason; nothing is half |
//! | I2 | `done` is one MP3: it downloads whole, equal for equal uploads, decodes, and plays as long as the upload |
//! | I3 | after one cycle of the janitor the stores hold exactly the files of the records |
//! | I4 | no good upload failed, every poisonous one did |
//! | I5 | each verdict was mailed, under one Message-ID, and twice only where a fault explains it |
//! | I6 | the queues are empty, dead letters are the garbage that was injected |
//! | I7, I8 | recovery and memory are measured, see `report` |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::clips::Clip;
use crate::http;
use crate::load::Load;
use crate::report::Window;
use crate::store::Stores;

const POLL: Duration = Duration::from_secs(1);
/// The counts of the management API are a moment old.
const QUEUES_PATIENCE: Duration = Duration::from_secs(60);
/// How much longer or shorter than the upload an MP3 may play.
const TOLERANCE_SECONDS: f64 = 0.1;
/// How long a claim holds: within it, a fault is why a mail went out again.
const LEASE: Duration = Duration::from_secs(45);

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
    pub(crate) janitor: Vec<String>,
}

impl Findings {
    fn breach(&mut self, invariant: &'static str, words: &[&str], what: String) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.breaches.push(Breach { invariant, what, words });
    }
}

/// Waits until no job and no mail is under way, or patience ends.
pub(crate) async fn quiesce(load: &Load, patience: Duration) {
    let give_up = Instant::now() + patience;
    while Instant::now() < give_up {
        load.look().await;
        load.look_closely().await;
        if load.outstanding() == 0 && unended(load).await == Some(0) {
            break;
        }
        sleep(POLL).await;
    }
    let give_up = Instant::now() + patience;
    while Instant::now() < give_up && untold(load).await != Some(0) {
        sleep(POLL).await;
    }
}

/// How many jobs, accepted or not, are under way.
async fn unended(load: &Load) -> Option<usize> {
    let under_way = |job: &&Value| matches!(job["state"].as_str(), Some("receiving" | "queued" | "converting"));
    Some(everything(load).await.ok()?.iter().filter(under_way).count())
}

/// How many verdicts have not been mailed.
async fn untold(load: &Load) -> Option<usize> {
    let told: BTreeSet<String> = load
        .fleet
        .sink
        .mails()
        .into_iter()
        .map(|mail| mail.message_id)
        .collect();
    let jobs = everything(load).await.ok()?;
    let owed = jobs.iter().filter(|job| owes_mail(job));
    let is_untold = |job: &&Value| {
        let begins = format!("<{}.", text(job, "id"));
        !told.iter().any(|id| id.starts_with(&begins))
    };
    Some(owed.filter(is_untold).count())
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

/// Checks everything. `faults` are those injected, and when.
///
/// # Errors
/// Something could not even be looked at.
pub(crate) async fn check(load: &Load, faults: &[Window], scratch: &Path) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let fleet = &load.fleet;
    let said = fleet.janitor(false).await?;
    let held_back = said.contains("nothing was deleted");
    findings.janitor.push(said);
    if held_back {
        findings.janitor.push(fleet.janitor(true).await?);
    }
    let jobs = everything(load).await?;
    findings.jobs = load.accepted().len();
    verdicts(load, &jobs, &mut findings);
    downloads(load, &jobs, scratch, &mut findings).await?;
    stores(load, &jobs, &mut findings).await?;
    mails(load, &jobs, faults, &mut findings);
    queues(load, faults, &mut findings).await?;
    Ok(findings)
}

/// I1 and I4.
fn verdicts(load: &Load, jobs: &[Value], findings: &mut Findings) {
    let by_id: BTreeMap<&str, &Value> = jobs.iter().map(|job| (text(job, "id"), job)).collect();
    for (id, accepted) in load.accepted() {
        let words = [id.as_str(), accepted.filename.as_str()];
        let Some(job) = by_id.get(&*id) else {
            findings.lost += 1;
            findings.breach("I1", &words, format!("job {id} was accepted and is gone"));
            continue;
        };
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
        if !matches!(job["state"].as_str(), Some("done" | "failed")) && !load.accepted().contains_key(text(job, "id")) {
            let what = format!(
                "job {} was never accepted and is {}",
                text(job, "id"),
                text(job, "state")
            );
            findings.breach("I1", &[text(job, "id"), text(job, "filename")], what);
        }
    }
}

/// I2.
async fn downloads(load: &Load, jobs: &[Value], scratch: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let mut firsts: BTreeMap<&'static str, (Vec<u8>, String)> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job["state"] == "done") {
        let (id, fid, filename) = (text(job, "id"), text(job, "mp3_fid"), text(job, "filename"));
        let owner = usize::try_from(job["owner"].as_u64().unwrap_or(0))?;
        let gateway = load.fleet.gateways()[0];
        let path = format!("/download?fid={fid}");
        let answer = http::get(gateway, &load.tokens[owner], &path).await;
        let bytes = match answer {
            Ok(answer) if answer.status == 200 => answer.body,
            other => {
                findings.lost += 1;
                let what = other.map_or_else(|error| error.to_string(), |answer| answer.status.to_string());
                findings.breach(
                    "I2",
                    &[id, filename],
                    format!("the MP3 of job {id} does not download: {what}"),
                );
                continue;
            }
        };
        let hash = digest(&SHA256, sound(&bytes)).as_ref().to_vec();
        load.ledger
            .note("download", json!({ "job": id, "fid": fid, "bytes": bytes.len() }));
        let Some(clip) = load.clip(filename) else {
            findings.breach(
                "I1",
                &[id, filename],
                format!("job {id} is about `{filename}`, which nobody sent"),
            );
            continue;
        };
        match firsts.get(clip.name) {
            None => {
                if let Err(error) = plays(&clip, &bytes, scratch).await {
                    findings.breach(
                        "I2",
                        &[id, filename],
                        format!("the MP3 of job {id} ({}): {error:#}", clip.name),
                    );
                }
                firsts.insert(clip.name, (hash, id.to_owned()));
            }
            Some((first, _)) if *first == hash => {}
            Some((_, other)) => {
                let what = format!("jobs {id} and {other} had the same upload ({}) and differ", clip.name);
                findings.breach("I2", &[id, filename], what);
            }
        }
    }
    Ok(())
}

/// An MP3 without the ID3v2 tag before it, which holds the file's name.
///
/// Source: id3.org, ID3v2.4.0 structure, section 3.1: ten bytes, the last four the length in seven bits each.
fn sound(mp3: &[u8]) -> &[u8] {
    if !mp3.starts_with(b"ID3") || mp3.len() < 10 {
        return mp3;
    }
    let length = mp3[6..10]
        .iter()
        .fold(0, |length, byte| length << 7 | usize::from(*byte));
    mp3.get(10 + length..).unwrap_or_default()
}

/// Whether the MP3 decodes without a word, and plays as long as its upload.
async fn plays(clip: &Arc<Clip>, bytes: &[u8], scratch: &Path) -> anyhow::Result<()> {
    let seconds = clip.plays.context("there should be none")?.as_secs_f64();
    let path = scratch.join(format!("{}.mp3", clip.name));
    tokio::fs::write(&path, bytes).await?;
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-f", "null", "-"])
        .output()
        .await?;
    let complaint = String::from_utf8_lossy(&decoded.stderr);
    ensure!(
        decoded.status.success() && complaint.is_empty(),
        "it does not decode: {complaint}"
    );
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .await?;
    let played: f64 = String::from_utf8_lossy(&probed.stdout).trim().parse()?;
    ensure!(
        (played - seconds).abs() <= TOLERANCE_SECONDS,
        "it plays {played} s instead of {seconds} s"
    );
    Ok(())
}

/// I3, and that no job has a second MP3.
async fn stores(load: &Load, jobs: &[Value], findings: &mut Findings) -> anyhow::Result<()> {
    let stores = Stores::look(&load.fleet.mongodb_url).await?;
    let uploaded = jobs.iter().filter(|job| job["reason"]["code"] != "upload_interrupted");
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

/// I5.
fn mails(load: &Load, jobs: &[Value], faults: &[Window], findings: &mut Findings) {
    let mails = load.fleet.sink.mails();
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

/// I6.
async fn queues(load: &Load, faults: &[Window], findings: &mut Findings) -> anyhow::Result<()> {
    let garbage = faults.iter().filter(|window| window.is_garbage()).count() as u64;
    let give_up = Instant::now() + QUEUES_PATIENCE;
    loop {
        let queues = load.fleet.rabbitmq_management.queues().await?;
        let (work, dead): (Vec<_>, Vec<_>) = queues
            .into_iter()
            .partition(|queue| ["video", "mp3"].contains(&&*queue.name));
        let waiting: u64 = work.iter().map(|queue| queue.messages).sum();
        let dead: u64 = dead.iter().map(|queue| queue.messages).sum();
        if waiting == 0 && dead <= garbage {
            return Ok(());
        }
        if Instant::now() > give_up {
            let what = format!("{waiting} messages wait, and {dead} dead letters of {garbage} garbage messages");
            findings.breach("I6", &[], what);
            return Ok(());
        }
        sleep(POLL).await;
    }
}
