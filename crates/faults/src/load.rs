//! What was uploaded, what of it was heard to be accepted, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testkit::servers::random_hexadecimal;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clips::{self, Clip};
use crate::home::Home;
use crate::http::{self, Manner};
use crate::ledger::Ledger;

const OWNERS: usize = 4;
/// The most jobs in a list.
const PAGE: usize = 200;

/// A job whose owner heard success.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub(crate) clip: Arc<Clip>,
    pub(crate) owner: usize,
    pub(crate) filename: String,
    pub(crate) at: Duration,
    /// Its owner asked for it to be cancelled, perhaps too late.
    pub(crate) taken_back: bool,
    /// The last that was seen of it, once that was final, and when it became so.
    pub(crate) ended: Option<(Value, Duration)>,
}

/// All users together.
pub(crate) struct Load {
    pub(crate) home: Home,
    pub(crate) ledger: Arc<Ledger>,
    /// The token of each account.
    pub(crate) tokens: Vec<String>,
    pub(crate) clips: Vec<Arc<Clip>>,
    pub(crate) seed: u64,
    /// The machine's clock when the ledger was begun.
    epoch: OffsetDateTime,
    accepted: Mutex<BTreeMap<String, Accepted>>,
    /// What every file name stands for, heard of or not.
    sent: Mutex<BTreeMap<String, Arc<Clip>>>,
    /// The file names that were sent under a key, each more than once.
    keyed: Mutex<BTreeSet<String>>,
    pub(crate) done: AtomicUsize,
    /// How often an upload was not answered as it should be, by what was heard instead.
    failures: Mutex<BTreeMap<String, usize>>,
    /// How many users did not have their success at the first try.
    pub(crate) first_try_failures: AtomicUsize,
    /// Counts for the report.
    pub(crate) tried: AtomicUsize,
    pub(crate) slow: AtomicUsize,
    pub(crate) aborted: AtomicUsize,
    pub(crate) twice: AtomicUsize,
    pub(crate) repeated: AtomicUsize,
}

/// One upload of one file.
#[derive(Clone, Copy)]
pub(crate) struct Sending<'a> {
    pub(crate) owner: usize,
    pub(crate) clip: &'a Arc<Clip>,
    pub(crate) filename: &'a str,
    /// What its client calls it, whichever try this is.
    pub(crate) key: Option<&'a str>,
    pub(crate) manner: Manner,
}

impl Load {
    /// Makes the accounts and logs in.
    ///
    /// # Errors
    /// The fleet does not work although nothing is wrong yet.
    pub(crate) async fn start(home: Home, ledger: Arc<Ledger>, seed: u64) -> anyhow::Result<Self> {
        let clips = tokio::task::spawn_blocking(clips::all).await??;
        let mut tokens = Vec::new();
        for number in 0..OWNERS {
            let email = address(number);
            let password = random_hexadecimal()?;
            home.add_account(&email, &password).await?;
            let basic = base64(format!("{email}:{password}").as_bytes());
            let answer = http::login(home.gateways()[0], &basic).await?;
            ensure!(answer.status == 200, "login: {} {}", answer.status, answer.text());
            tokens.push(answer.text());
        }
        let epoch = OffsetDateTime::now_utc() - ledger.now();
        Ok(Self {
            home,
            ledger,
            tokens,
            clips,
            seed,
            epoch,
            accepted: Mutex::default(),
            sent: Mutex::default(),
            keyed: Mutex::default(),
            done: AtomicUsize::new(0),
            failures: Mutex::default(),
            first_try_failures: AtomicUsize::new(0),
            tried: AtomicUsize::new(0),
            slow: AtomicUsize::new(0),
            aborted: AtomicUsize::new(0),
            twice: AtomicUsize::new(0),
            repeated: AtomicUsize::new(0),
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

    /// The file names that were sent under a key.
    pub(crate) fn keyed(&self) -> BTreeSet<String> {
        self.keyed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often an upload was not answered as it should be, by what was heard instead. Clients that hang up do not
    /// count.
    pub(crate) fn failures(&self) -> BTreeMap<String, usize> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the store wrote this down, by the clock of the ledger.
    pub(crate) fn moment(&self, written: &str) -> Option<Duration> {
        let at = OffsetDateTime::parse(written, &Rfc3339).ok()?;
        // A store counts in milliseconds, and a negative time is one that was before the first of them was over.
        Some(Duration::try_from(at - self.epoch).unwrap_or_default())
    }

    fn fail(&self, manner: Manner, heard: String) {
        if !matches!(manner, Manner::Aborting(_)) {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(heard).or_default() += 1;
        }
    }

    fn remember(&self, sending: Sending<'_>) {
        let filename = sending.filename.to_owned();
        if sending.key.is_some() {
            let mut keyed = self.keyed.lock().unwrap_or_else(PoisonError::into_inner);
            keyed.insert(filename.clone());
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.insert(filename, Arc::clone(sending.clip));
    }

    /// Notes that the owner of this job wants it no more.
    pub(crate) fn take_back(&self, id: &str) {
        if let Some(job) = self.book().get_mut(id) {
            job.taken_back = true;
        }
    }

    /// How many accepted jobs are not yet seen to have ended.
    pub(crate) fn outstanding(&self) -> usize {
        self.book().values().filter(|job| job.ended.is_none()).count()
    }

    /// One upload: its job when its user heard success.
    ///
    /// # Errors
    /// A refusal that trying again does not mend.
    pub(crate) async fn upload(&self, gateway: u16, sending: Sending<'_>) -> anyhow::Result<Option<String>> {
        let Sending {
            owner,
            clip,
            filename,
            key,
            manner,
        } = sending;
        self.tried.fetch_add(1, Ordering::SeqCst);
        self.remember(sending);
        let token = &self.tokens[owner];
        let answer = http::upload(gateway, token, filename, &clip.bytes, key, manner).await;
        let (status, job, error) = match &answer {
            Ok(answer) => (Some(answer.status), answer.header("x-job-id"), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        let facts = json!({ "file": filename, "clip": clip.name, "owner": owner, "gateway": gateway, "key": key,
                            "status": status, "job": job, "error": error });
        self.ledger.note("upload", facts);
        match (status, job) {
            (Some(200), Some(job)) => {
                let accepted = Accepted {
                    clip: Arc::clone(clip),
                    owner,
                    filename: filename.to_owned(),
                    at: self.ledger.now(),
                    taken_back: false,
                    ended: None,
                };
                let mut book = self.book();
                let before = book.get(job);
                ensure!(
                    before.is_none_or(|before| key.is_some() && before.filename == filename),
                    "two uploads were given the id {job}"
                );
                if before.is_none() {
                    book.insert(job.to_owned(), accepted);
                }
                Ok(Some(job.to_owned()))
            }
            // Nobody knows, or the service is in trouble: it is tried again, and counted.
            (None, _) => {
                self.fail(manner, error.unwrap_or_default());
                Ok(None)
            }
            (Some(status @ (429 | 500..)), _) => {
                self.fail(manner, status.to_string());
                Ok(None)
            }
            // The first of this key has not ended: that is no failure.
            (Some(409), _) if key.is_some() => Ok(None),
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
            let gateways = self.home.gateways();
            let gateway = gateways[owner % gateways.len()];
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

    pub(crate) async fn list(&self, owner: usize, before: Option<&str>) -> anyhow::Result<Vec<Value>> {
        let gateways = self.home.gateways();
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
            let at = self.moment(finished).unwrap_or_else(|| self.ledger.now());
            accepted.ended = Some((job.clone(), at));
            drop(book);
            self.ledger.note("ended", json!({ "job": job }));
        }
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of an owner.
pub(crate) fn address(owner: usize) -> String {
    format!("owner{owner}@example.com")
}

/// As `Authorization: Basic` wants it.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
