//! What was seen from outside, and nothing else: HTTP answers, mails, downloaded bytes, and the faults injected.
//!
//! One JSON object a line, on disk before the next thing is done, so that the story survives the campaign itself.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

/// The book of one run.
pub(crate) struct Ledger {
    begun: Instant,
    book: Mutex<Book>,
}

struct Book {
    file: File,
    lines: Vec<String>,
}

impl Ledger {
    /// Begins a book.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let lines = Vec::new();
        Ok(Self {
            begun: Instant::now(),
            book: Mutex::new(Book { file, lines }),
        })
    }

    /// Since the book was begun.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Writes one thing that was seen.
    ///
    /// # Panics
    /// The disk does not take it: what cannot be written down proves nothing.
    pub(crate) fn note(&self, what: &str, mut facts: Value) {
        facts["at_ms"] = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX).into();
        facts["what"] = what.into();
        let line = facts.to_string();
        let mut book = self.book();
        let written = writeln!(book.file, "{line}").and_then(|()| book.file.sync_data());
        assert!(written.is_ok(), "cannot write the ledger: {written:?}");
        book.lines.push(line);
    }

    /// All lines that contain one of these words, in order.
    pub(crate) fn story(&self, words: &[&str]) -> Vec<String> {
        let tells = |line: &&String| words.iter().any(|word| line.contains(word));
        self.book().lines.iter().filter(tells).cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
