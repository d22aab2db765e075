//! The users: they upload, try again when they were not heard, and look what became of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testkit::servers::random_hexadecimal;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;

use crate::clips::{self, Clip};
use crate::fleet::Fleet;
use crate::http::{self, Manner};
use crate::ledger::Ledger;
use crate::random::Random;

const OWNERS: usize = 4;
/// How often an upload is tried before its user despairs.
const TRIES: u32 = 120;
const PAUSE: Duration = Duration::from_secs(1);
/// The most jobs in a list.
const PAGE: usize = 200;

/// A job whose owner heard success.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub(crate) clip: Arc<Clip>,
    pub(crate) owner: usize,
    pub(crate) filename: String,
    pub(crate) at: Duration,
    /// The last that was seen of it, once that was final, and when it became so.
    pub(crate) ended: Option<(Value, Duration)>,
}

/// All users together.
pub(crate) struct Load {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) ledger: Arc<Ledger>,
    /// The token of each account.
    pub(crate) tokens: Vec<String>,
    clips: Vec<Arc<Clip>>,
    seed: u64,
    /// The machine's clock when the ledger was begun.
    epoch: OffsetDateTime,
    accepted: Mutex<BTreeMap<String, Accepted>>,
    /// What every file name stands for, heard of or not.
    sent: Mutex<BTreeMap<String, Arc<Clip>>>,
    done: AtomicUsize,
    /// Counts for the report.
    pub(crate) tried: AtomicUsize,
    pub(crate) slow: AtomicUsize,
    pub(crate) aborted: AtomicUsize,
    pub(crate) twice: AtomicUsize,
}

impl Load {
    /// Makes the accounts and logs in.
    ///
    /// # Errors
    /// The fleet does not work although nothing is wrong yet.
    pub(crate) async fn start(fleet: Arc<Fleet>, ledger: Arc<Ledger>, seed: u64) -> anyhow::Result<Self> {
        let clips = tokio::task::spawn_blocking(clips::all).await??;
        let mut tokens = Vec::new();
        for number in 0..OWNERS {
            let email = format!("owner{number}@example.com");
            let password = random_hexadecimal()?;
            fleet.add_account(&email, &password).await?;
            let basic = base64(format!("{email}:{password}").as_bytes());
            let answer = http::login(fleet.gateways()[0], &basic).await?;
            ensure!(answer.status == 200, "login: {} {}", answer.status, answer.text());
            tokens.push(answer.text());
        }
        let epoch = OffsetDateTime::now_utc() - ledger.now();
        Ok(Self {
            fleet,
            ledger,
            tokens,
            clips,
            seed,
            epoch,
            accepted: Mutex::default(),
            sent: Mutex::default(),
            done: AtomicUsize::new(0),
            tried: AtomicUsize::new(0),
            slow: AtomicUsize::new(0),
            aborted: AtomicUsize::new(0),
            twice: AtomicUsize::new(0),
        })
    }

    /// How many users have their success.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// The jobs whose owners heard success.
    pub(crate) fn accepted(&self) -> BTreeMap<String, Accepted> {
        self.book().clone()
    }

    /// The clip that was sent under this name.
    pub(crate) fn clip(&self, filename: &str) -> Option<Arc<Clip>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.get(filename).cloned()
    }

    fn remember(&self, filename: &str, clip: &Arc<Clip>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.insert(filename.to_owned(), Arc::clone(clip));
    }

    /// How many accepted jobs are not yet seen to have ended.
    pub(crate) fn outstanding(&self) -> usize {
        self.book().values().filter(|job| job.ended.is_none()).count()
    }

    /// Gets file number `number` accepted, however long it takes.
    ///
    /// # Errors
    /// A refusal that trying again does not mend.
    pub(crate) async fn user(&self, number: usize) -> anyhow::Result<()> {
        let mut random = Random::of(self.seed, number as u64);
        let clip = clips::draw(&self.clips, &mut random);
        let owner = number % self.tokens.len();
        let gateways = self.fleet.gateways();
        let mut gateway = random.pick(&gateways);
        let (is_slow, aborts, sends_twice) = (random.percent(3), random.percent(3), random.percent(2));
        if aborts {
            self.aborted.fetch_add(1, Ordering::SeqCst);
            let after = usize::try_from(random.between(0, clip.bytes.len() as u64 + 300)).unwrap_or(0);
            let name = format!("n{number}-aborted.mkv");
            self.upload(gateway, owner, clip, &name, Manner::Aborting(after))
                .await
                .ok();
        }
        let manner = if is_slow { Manner::Slow(5) } else { Manner::Quick };
        self.slow.fetch_add(usize::from(is_slow), Ordering::SeqCst);
        for attempt in 0..TRIES {
            let name = format!("n{number}-try{attempt}.mkv");
            let uploaded = if sends_twice && attempt == 0 {
                self.twice.fetch_add(1, Ordering::SeqCst);
                let name = format!("n{number}-twin.mkv");
                let twin = self.upload(gateway, owner, clip, &name, manner);
                let name = format!("n{number}-try{attempt}.mkv");
                tokio::join!(self.upload(gateway, owner, clip, &name, manner), twin).0
            } else {
                self.upload(gateway, owner, clip, &name, manner).await
            };
            if uploaded? {
                self.done.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            sleep(PAUSE).await;
            gateway = random.pick(&gateways);
        }
        anyhow::bail!("upload {number} was not accepted in {TRIES} tries")
    }

    /// Gets this clip accepted without further ado.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub(crate) async fn plain(&self, number: usize, clip: &str) -> anyhow::Result<()> {
        let clip = self
            .clips
            .iter()
            .find(|other| other.name == clip)
            .context("no such clip")?;
        let (owner, gateways) = (number % self.tokens.len(), self.fleet.gateways());
        for attempt in 0..TRIES {
            let name = format!("n{number}-try{attempt}.mkv");
            let turn = (number + usize::try_from(attempt)?) % gateways.len();
            if self.upload(gateways[turn], owner, clip, &name, Manner::Quick).await? {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        anyhow::bail!("upload {number} was not accepted in {TRIES} tries")
    }

    /// Begins an upload and hangs up in the middle.
    pub(crate) async fn broken(&self, number: usize) {
        let (clip, gateways) = (&self.clips[0], self.fleet.gateways());
        let (owner, gateway) = (number % self.tokens.len(), gateways[number % gateways.len()]);
        let manner = Manner::Aborting(clip.bytes.len() / 2);
        let name = format!("n{number}-aborted.mkv");
        // It has no answer: it hung up.
        drop(self.upload(gateway, owner, clip, &name, manner).await);
    }

    /// One upload: true when its user heard success.
    async fn upload(
        &self,
        gateway: u16,
        owner: usize,
        clip: &Arc<Clip>,
        filename: &str,
        manner: Manner,
    ) -> anyhow::Result<bool> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        self.remember(filename, clip);
        let token = &self.tokens[owner];
        let answer = http::upload(gateway, token, filename, &clip.bytes, manner).await;
        let (status, job, error) = match &answer {
            Ok(answer) => (Some(answer.status), answer.header("x-job-id"), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        let facts = json!({ "file": filename, "clip": clip.name, "owner": owner, "gateway": gateway,
                            "status": status, "job": job, "error": error });
        self.ledger.note("upload", facts);
        match (status, job) {
            (Some(200), Some(job)) => {
                let accepted = Accepted {
                    clip: Arc::clone(clip),
                    owner,
                    filename: filename.to_owned(),
                    at: self.ledger.now(),
                    ended: None,
                };
                let before = self.book().insert(job.to_owned(), accepted);
                ensure!(before.is_none(), "two uploads were given the id {job}");
                Ok(true)
            }
            // Nobody knows, or the service is in trouble: both are tried again.
            (None | Some(429 | 500..), _) => Ok(false),
            (Some(status), _) => anyhow::bail!("{filename} was refused: {status}"),
        }
    }

    /// Looks at the newest jobs of every owner.
    pub(crate) async fn look(&self) {
        for owner in 0..self.tokens.len() {
            if self
                .book()
                .values()
                .any(|job| job.owner == owner && job.ended.is_none())
            {
                // A gateway in trouble is asked again later.
                if let Ok(jobs) = self.list(owner, None).await {
                    jobs.iter().for_each(|job| self.seen(job));
                }
            }
        }
    }

    /// Looks at each job that has not been seen to end.
    pub(crate) async fn look_closely(&self) {
        let open: Vec<(String, usize)> = {
            let book = self.book();
            let open = book.iter().filter(|(_, job)| job.ended.is_none());
            open.map(|(id, job)| (id.clone(), job.owner)).collect()
        };
        for (id, owner) in open {
            let gateway = self.fleet.gateways()[owner % 2];
            let path = format!("/api/v1/jobs/{id}");
            if let Ok(answer) = http::get(gateway, &self.tokens[owner], &path).await
                && let Ok(job) = serde_json::from_slice(&answer.body)
            {
                self.seen(&job);
            }
        }
    }

    /// Every job the owner has, accepted or not.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub(crate) async fn all(&self, owner: usize) -> anyhow::Result<Vec<Value>> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let before = all.last().and_then(|job| job["id"].as_str());
            let page = self.list(owner, before).await?;
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn list(&self, owner: usize, before: Option<&str>) -> anyhow::Result<Vec<Value>> {
        let gateways = self.fleet.gateways();
        let gateway = gateways[usize::try_from(self.ledger.now().as_secs()).unwrap_or(0) % gateways.len()];
        let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
        let path = format!("/api/v1/jobs?limit={PAGE}{before}");
        let answer = http::get(gateway, &self.tokens[owner], &path).await?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        let answer: Value = serde_json::from_slice(&answer.body)?;
        Ok(answer.as_array().context("the list of jobs is none")?.clone())
    }

    fn seen(&self, job: &Value) {
        let mut book = self.book();
        let Some(accepted) = job["id"].as_str().and_then(|id| book.get_mut(id)) else {
            return;
        };
        // `dead` is not an end: the promise is an MP3 or a failure that is explained.
        let is_final = matches!(job["state"].as_str(), Some("done" | "failed" | "cancelled"));
        if is_final && accepted.ended.is_none() {
            let finished = job["finished_at"].as_str().unwrap_or_default();
            let at = OffsetDateTime::parse(finished, &Rfc3339).ok();
            let at = at.and_then(|at| Duration::try_from(at - self.epoch).ok());
            accepted.ended = Some((job.clone(), at.unwrap_or_else(|| self.ledger.now())));
            drop(book);
            self.ledger.note("ended", json!({ "job": job }));
        }
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As `Authorization: Basic` wants it.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
