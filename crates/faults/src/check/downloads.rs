//! I2: `done` is one MP3 that plays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Findings, text};
use crate::clips::Clip;
use crate::http;
use crate::load::Load;

/// How much longer or shorter than the upload an MP3 may play.
const TOLERANCE_SECONDS: f64 = 0.1;

/// Downloads everything.
///
/// # Errors
/// ffmpeg cannot be run.
pub(super) async fn check(load: &Load, jobs: &[Value], scratch: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let mut firsts: BTreeMap<&'static str, (Vec<u8>, String)> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job["state"] == "done") {
        let (id, fid, filename) = (text(job, "id"), text(job, "mp3_fid"), text(job, "filename"));
        let owner = usize::try_from(job["owner"].as_u64().unwrap_or(0))?;
        let gateway = load.home.gateways()[0];
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
        // What nobody sent was told of before.
        let Some(clip) = load.clip(filename) else {
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
