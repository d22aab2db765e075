//! Children that wait for a conversion, so that no job waits for a child.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use domain::PortError;
use media::child::{Child, Layer, Program};
use runtime::probes::Readiness;

use crate::ConversionSettings;

/// The children that wait: one for each slot, and the next is started as soon as one is taken. Clones share them.
#[derive(Clone)]
pub struct Children(Arc<Shared>);

struct Shared {
    program: Program,
    slots: u16,
    spare: Mutex<Spare>,
    /// What the kernel lacks of the lock-down, as the first child found.
    missing: OnceLock<Vec<Layer>>,
}

#[derive(Default)]
struct Spare {
    waiting: Vec<Child>,
    /// How many are being started to wait.
    coming: usize,
    closed: bool,
    /// Why the last child could not be started, if it could not.
    trouble: Option<String>,
}

impl Children {
    /// None so far.
    pub fn new(settings: &ConversionSettings) -> Self {
        Self(Arc::new(Shared {
            program: settings.program.clone(),
            slots: settings.jobs,
            spare: Mutex::default(),
            missing: OnceLock::new(),
        }))
    }

    /// Starts one for each slot, beside what else there is to do.
    pub(crate) fn prepare(&self) {
        for _ in 0..self.0.slots {
            self.start_another();
        }
    }

    /// A child to convert with, and has the next one started. Where none is waiting, it is one that still gets ready.
    ///
    /// # Errors
    /// None is waiting, and none can be started.
    pub(crate) fn take(&self) -> io::Result<Child> {
        let waiting = {
            let mut spare = self.lock();
            std::iter::from_fn(|| spare.waiting.pop()).find_map(|mut child| child.is_alive().then_some(child))
        };
        self.start_another();
        match waiting {
            Some(child) => Ok(child),
            None => Child::start(&self.0.program),
        }
    }

    /// Ends those that wait; none are kept waiting any more.
    pub(crate) fn close(&self) {
        let ended = {
            let mut spare = self.lock();
            spare.closed = true;
            std::mem::take(&mut spare.waiting)
        };
        drop(ended);
    }

    /// Adds to a readiness that conversions can be started, and the layers of their lock-down.
    #[must_use]
    pub fn add_to(&self, readiness: Readiness) -> Readiness {
        let children = self.clone();
        let readiness = readiness.degraded_by("conversion process", move || {
            let trouble = children.lock().trouble.clone();
            async move { trouble.map_or(Ok(()), |trouble| Err(PortError::unavailable("start a child", trouble))) }
        });
        Layer::ALL.into_iter().fold(readiness, |readiness, layer| {
            let children = self.clone();
            readiness.degraded_by(layer.name(), move || {
                let trouble = match children.0.missing.get() {
                    None => Some("no child has said yet what it has"),
                    Some(missing) if missing.contains(&layer) => Some("this kernel does not have it"),
                    Some(_) => None,
                };
                async move { trouble.map_or(Ok(()), |trouble| Err(PortError::unavailable("lock down", trouble))) }
            })
        })
    }

    fn start_another(&self) {
        {
            let mut spare = self.lock();
            // One that was taken before it was ready has been replaced already.
            if spare.closed || spare.waiting.len() + spare.coming >= usize::from(self.0.slots) {
                return;
            }
            spare.coming += 1;
        }
        let children = self.clone();
        // Getting ready takes a child some time, and this thread as long.
        let started = thread::Builder::new().name("next-child".to_owned()).spawn(move || {
            let started = children.start();
            let mut spare = children.lock();
            spare.coming -= 1;
            if let Ok(child) = started
                && !spare.closed
            {
                spare.waiting.push(child);
            }
        });
        if let Err(error) = started {
            self.lock().coming -= 1;
            tracing::warn!(%error, "cannot start a thread");
        }
    }

    fn start(&self) -> io::Result<Child> {
        let started = Child::start(&self.0.program).and_then(|mut child| {
            let missing = child.wait_until_ready()?.to_vec();
            Ok((child, missing))
        });
        let trouble = started.as_ref().err().map(ToString::to_string);
        if let Some(trouble) = &trouble {
            tracing::warn!(error = trouble, "cannot start a process to convert in");
        }
        self.lock().trouble = trouble;
        let (child, missing) = started?;
        self.0.missing.get_or_init(|| {
            for layer in &missing {
                tracing::warn!(
                    layer = layer.name(),
                    "conversions are locked down without a layer this kernel lacks"
                );
            }
            missing
        });
        Ok(child)
    }

    fn lock(&self) -> MutexGuard<'_, Spare> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
