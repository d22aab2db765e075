//! The users: they upload, try again when they were not heard, and some do stranger things.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use tokio::time::sleep;

use crate::clips::{self, Clip};
use crate::http::{self, Manner};
use crate::load::{Load, Sending};
use crate::random::Random;

/// How often an upload is tried before its user despairs.
const TRIES: u32 = 120;
const PAUSE: Duration = Duration::from_secs(1);
/// Longer than a gateway waits before it renews the lease of an upload.
const SLOW_PIECES: usize = 11;

impl Load {
    /// Gets file number `number` accepted, however long it takes.
    ///
    /// # Errors
    /// A refusal that trying again does not mend.
    pub(crate) async fn user(&self, number: usize) -> anyhow::Result<()> {
        let mut random = Random::of(self.seed, number as u64);
        let clip = clips::draw(&self.clips, &mut random);
        let owner = number % self.tokens.len();
        let gateways = self.home.gateways();
        let mut gateway = random.pick(&gateways);
        let (is_slow, aborts, sends_twice) = (random.percent(3), random.percent(3), random.percent(2));
        let usual = Sending {
            owner,
            clip,
            filename: "",
            key: None,
            manner: Manner::Quick,
        };
        if aborts {
            self.aborted.fetch_add(1, Ordering::SeqCst);
            let after = usize::try_from(random.between(0, clip.bytes.len() as u64 + 300)).unwrap_or(0);
            let name = format!("n{number}-aborted.mkv");
            let aborting = Sending {
                filename: &name,
                manner: Manner::Aborting(after),
                ..usual
            };
            self.upload(gateway, aborting).await.ok();
        }
        if random.percent(3) {
            self.repeated.fetch_add(1, Ordering::SeqCst);
            self.under_a_key(number, clip).await?;
            self.done.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let manner = if is_slow { Manner::Slow(5) } else { Manner::Quick };
        self.slow.fetch_add(usize::from(is_slow), Ordering::SeqCst);
        for attempt in 0..TRIES {
            let (name, twin) = (format!("n{number}-try{attempt}.mkv"), format!("n{number}-twin.mkv"));
            let upload = |filename| {
                let sending = Sending {
                    filename,
                    manner,
                    ..usual
                };
                self.upload(gateway, sending)
            };
            let uploaded = if sends_twice && attempt == 0 {
                self.twice.fetch_add(1, Ordering::SeqCst);
                tokio::join!(upload(&name), upload(&twin)).0
            } else {
                upload(&name).await
            };
            if uploaded?.is_some() {
                self.done.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            self.first_try_failures
                .fetch_add(usize::from(attempt == 0), Ordering::SeqCst);
            sleep(PAUSE).await;
            gateway = random.pick(&gateways);
        }
        anyhow::bail!("upload {number} was not accepted in {TRIES} tries")
    }

    /// Sends a file under a key of its own, at once and to every gateway, and goes on until success was heard twice.
    /// Whether that was of one job is for the checks.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    async fn under_a_key(&self, number: usize, clip: &Arc<Clip>) -> anyhow::Result<()> {
        let (name, key) = (format!("n{number}-keyed.mkv"), format!("key-{number}"));
        let sending = Sending {
            owner: number % self.tokens.len(),
            clip,
            filename: &name,
            key: Some(&key),
            manner: Manner::Quick,
        };
        let gateways = self.home.gateways();
        let mut heard = 0;
        for attempt in 0..TRIES {
            let turn = number + usize::try_from(attempt)?;
            let [one, other] = [turn, turn + 1].map(|turn| gateways[turn % gateways.len()]);
            let (first, second) = tokio::join!(self.upload(one, sending), self.upload(other, sending));
            heard += [first?, second?].into_iter().flatten().count();
            if heard > 1 {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        anyhow::bail!("upload {number} was not accepted twice in {TRIES} tries")
    }

    /// The same with a short clip.
    ///
    /// # Errors
    /// As for [`under_a_key`](Self::under_a_key).
    pub(crate) async fn keyed_upload(&self, number: usize) -> anyhow::Result<()> {
        self.under_a_key(number, self.named("second")?).await
    }

    /// Gets this clip accepted without further ado, and gives its job.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub(crate) async fn plain(&self, number: usize, clip: &str) -> anyhow::Result<String> {
        self.insistently(number, clip, Manner::Quick).await
    }

    /// Gets a short clip accepted, taking longer than a gateway waits before it renews the lease.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub(crate) async fn slow(&self, number: usize) -> anyhow::Result<String> {
        self.insistently(number, "second", Manner::Slow(SLOW_PIECES)).await
    }

    async fn insistently(&self, number: usize, clip: &str, manner: Manner) -> anyhow::Result<String> {
        let clip = self.named(clip)?;
        let (owner, gateways) = (number % self.tokens.len(), self.home.gateways());
        for attempt in 0..TRIES {
            let name = format!("n{number}-try{attempt}.mkv");
            let turn = (number + usize::try_from(attempt)?) % gateways.len();
            let sending = Sending {
                owner,
                clip,
                filename: &name,
                key: None,
                manner,
            };
            if let Some(job) = self.upload(gateways[turn], sending).await? {
                return Ok(job);
            }
            sleep(PAUSE).await;
        }
        anyhow::bail!("upload {number} was not accepted in {TRIES} tries")
    }

    /// Begins an upload and hangs up in the middle.
    pub(crate) async fn broken(&self, number: usize) {
        let (clip, gateways) = (&self.clips[0], self.home.gateways());
        let name = format!("n{number}-aborted.mkv");
        let sending = Sending {
            owner: number % self.tokens.len(),
            clip,
            filename: &name,
            key: None,
            manner: Manner::Aborting(clip.bytes.len() / 2),
        };
        // It has no answer: it hung up.
        drop(self.upload(gateways[number % gateways.len()], sending).await);
    }

    /// Uploads, looks at its jobs until this one has ended, and fetches the MP3.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub(crate) async fn reading(&self, number: usize) -> anyhow::Result<()> {
        let job = self.plain(number, "second").await?;
        let owner = number % self.tokens.len();
        let token = &self.tokens[owner];
        let gateways = self.home.gateways();
        for attempt in 0..TRIES {
            let gateway = gateways[(number + usize::try_from(attempt)?) % gateways.len()];
            self.list(owner, None).await.ok();
            let record = http::get(gateway, token, &format!("/api/v1/jobs/{job}")).await;
            let record = record.ok().and_then(|record| serde_json::from_slice(&record.body).ok());
            let record: serde_json::Value = record.unwrap_or_default();
            if let Some(fid) = record["mp3_fid"].as_str() {
                let mp3 = http::get(gateway, token, &format!("/download?fid={fid}")).await;
                if mp3.is_ok_and(|mp3| mp3.status == 200) {
                    return Ok(());
                }
            }
            sleep(PAUSE).await;
        }
        anyhow::bail!("the MP3 of job {job} could not be had in {TRIES} tries")
    }

    /// Uploads something longer, and takes it back at once.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub(crate) async fn taking_back(&self, number: usize) -> anyhow::Result<()> {
        let job = self.plain(number, "ten-seconds").await?;
        self.take_back(&job);
        let token = &self.tokens[number % self.tokens.len()];
        let gateways = self.home.gateways();
        // Once: whether it was heard is what the check tells.
        drop(http::cancel(gateways[number % gateways.len()], token, &job).await);
        Ok(())
    }

    /// The clip of that name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(&self, name: &str) -> anyhow::Result<&Arc<Clip>> {
        let mut clips = self.clips.iter();
        clips.find(|clip| clip.name == name).context("no such clip")
    }
}
