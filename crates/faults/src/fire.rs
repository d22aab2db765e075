//! Uploads and faults side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::fleet::Fleet;
use crate::inject::{inject, wait_for_server};
use crate::load::Load;
use crate::plan::Fault;
use crate::report::Window;
use crate::say;

/// How many users upload at once.
const USERS: usize = 6;
/// How many faults overlap.
const OVERLAP: usize = 3;
/// More accepted jobs than this are not left unfinished: the point is faults, not queues.
const MAX_OUTSTANDING: usize = 30;
const TICK: Duration = Duration::from_millis(50);
/// The longest a fault may take with its healing before the campaign itself is called broken.
const FAULT_PATIENCE: Duration = Duration::from_secs(240);
/// How often a fault is tried that cannot be injected, such as one on a process that is away at the moment.
const TRIES: usize = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// What came of the faults.
#[derive(Clone, Default)]
pub(crate) struct Fired {
    /// Those that were injected.
    pub(crate) windows: Vec<Window>,
    /// Those that were not, and why.
    pub(crate) failed: Vec<String>,
    /// What services did on the way that they must not.
    pub(crate) wrong: Vec<String>,
}

/// Uploads all and injects all, each fault when its share of the uploads is under way.
///
/// # Errors
/// A user was refused for good.
pub(crate) async fn fire(fleet: &Arc<Fleet>, load: &Arc<Load>, faults: &[Fault], jobs: usize) -> anyhow::Result<Fired> {
    let released = Arc::new(Semaphore::new(0));
    let mut users = JoinSet::new();
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..USERS.min(jobs) {
        let (load, next, released) = (Arc::clone(load), Arc::clone(&next), Arc::clone(&released));
        users.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= jobs {
                    return anyhow::Ok(());
                }
                released.acquire().await?.forget();
                while load.outstanding() >= MAX_OUTSTANDING {
                    sleep(TICK).await;
                }
                load.user(number).await?;
            }
        });
    }
    let overlap = Arc::new(Semaphore::new(OVERLAP));
    let fired: Arc<Mutex<Fired>> = Arc::default();
    let mut injections = JoinSet::new();
    for (number, fault) in faults.iter().enumerate() {
        let (from, to) = (jobs * number / faults.len(), jobs * (number + 1) / faults.len());
        let permit = Arc::clone(&overlap).acquire_owned().await?;
        // A fault that had to wait for another one would come when its share is done.
        wait_for_server(fleet, fault).await;
        released.add_permits(to - from);
        // In the middle of its share, so that uploads and conversions are under way.
        while load.done() < from + (to - from) / 3 || (!is_at_work(load).await && load.done() < to) {
            if let Some(ended) = users.try_join_next() {
                ended??;
            }
            sleep(TICK).await;
        }
        let (fleet, load, fault, fired) = (Arc::clone(fleet), Arc::clone(load), *fault, Arc::clone(&fired));
        injections.spawn(async move {
            let shot = shoot(&fleet, &load, number, fault).await;
            let mut fired = fired.lock().unwrap_or_else(PoisonError::into_inner);
            match shot {
                Ok((window, wrong)) => {
                    fired.windows.push(window);
                    fired.wrong.extend(wrong);
                }
                Err(error) => fired.failed.push(format!("{fault}: {error:#}")),
            }
            drop(permit);
        });
    }
    if faults.is_empty() {
        released.add_permits(jobs);
    }
    while let Some(ended) = injections.join_next().await {
        ended?;
    }
    while let Some(ended) = users.join_next().await {
        ended??;
    }
    let fired = fired.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(fired)
}

/// Whether an accepted job has not ended, asked anew: what was seen half a second ago has often ended since.
async fn is_at_work(load: &Load) -> bool {
    timeout(PAUSE, load.look()).await.ok();
    load.outstanding() > 0
}

/// Injects a fault, again when it could not be: from when to when it was there, and what services did wrong.
async fn shoot(fleet: &Fleet, load: &Load, number: usize, fault: Fault) -> anyhow::Result<(Window, Vec<String>)> {
    let began = load.ledger.now();
    say(format!("{:6.1} s  {fault}", began.as_secs_f64()));
    load.ledger
        .note("fault", json!({ "fault": fault.to_string(), "number": number }));
    let mut tries = 1;
    let outcome = loop {
        match timeout(FAULT_PATIENCE, inject(fleet, load, &fault)).await {
            Ok(Err(error)) if tries < TRIES => {
                say(format!("{fault}, try {tries}: {error:#}"));
                tries += 1;
                sleep(PAUSE).await;
            }
            outcome => break outcome,
        }
    };
    let ended = load.ledger.now();
    let error = match &outcome {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some("it does not end".to_owned()),
    };
    load.ledger.note(
        "healed",
        json!({ "fault": fault.to_string(), "number": number, "error": error }),
    );
    ensure!(error.is_none(), "{}", error.unwrap_or_default());
    let wrong = outcome??;
    Ok((Window { fault, began, ended }, wrong))
}
