//! What the adapters warned about on this test's thread.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// Collects while it lives. Tasks of a current-thread runtime are on the test's thread too.
pub(super) struct Warnings {
    texts: Arc<Mutex<Vec<String>>>,
    _collecting: DefaultGuard,
}

impl Warnings {
    pub(super) fn collect() -> Self {
        let texts = Arc::default();
        let collector = Collector {
            texts: Arc::clone(&texts),
        };
        Self {
            texts,
            _collecting: tracing::subscriber::set_default(collector),
        }
    }

    /// The fields of each warning, message included.
    pub(super) fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }
}

struct Collector {
    texts: Arc<Mutex<Vec<String>>>,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("adapters")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.texts.lock().unwrap().push(text.0);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
