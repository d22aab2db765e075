//! What is said at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::Findings;
use crate::load::Load;
use crate::plan::{Act, Fault, KINDS, SPECIAL_KINDS};

/// A fault that was injected, and from when to when.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) fault: Fault,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// Whether an accepted job was between its steps.
    pub(crate) hit_work: bool,
}

impl Window {
    pub(crate) fn is_garbage(&self) -> bool {
        matches!(self.fault.act, Act::Garbage(_))
    }
}

/// How long jobs took that a fault fell upon, from its end, or from their acceptance where that was later.
pub(crate) fn recoveries(load: &Load, faults: &[Window]) -> Vec<Duration> {
    let accepted = load.accepted();
    let waits = accepted.values().filter_map(|job| {
        let (_, ended) = job.ended.as_ref()?;
        let fell_upon = faults
            .iter()
            .filter(|window| window.began < *ended && window.ended > job.at);
        let healed = fell_upon.map(|window| window.ended).max()?;
        Some(ended.saturating_sub(healed.max(job.at)))
    });
    waits.collect()
}

/// The median, p99 and the longest, in seconds.
pub(crate) fn percentiles(mut waits: Vec<Duration>) -> [f64; 3] {
    waits.sort_unstable();
    let at = |share: usize| {
        let place = (waits.len() * share / 100).min(waits.len().saturating_sub(1));
        waits.get(place).map_or(0.0, Duration::as_secs_f64)
    };
    [at(50), at(99), at(100)]
}

/// Jobs, faults by kind, lost, doubled, orphans, mail copies, recovery: a line of a Markdown table.
pub(crate) fn row(seed: u64, load: &Load, faults: &[Window], findings: &Findings) -> String {
    let mut by_kind: BTreeMap<&str, usize> = BTreeMap::new();
    for window in faults {
        *by_kind.entry(window.fault.kind).or_default() += 1;
    }
    let in_order = KINDS
        .iter()
        .chain(&SPECIAL_KINDS)
        .filter_map(|kind| Some(format!("{kind} {}", by_kind.get(kind)?)));
    let kinds: Vec<String> = in_order.collect();
    let [p50, p99, longest] = percentiles(recoveries(load, faults));
    format!(
        "| {seed} | {} | {}: {} | {} | {} | {} | {} of {} | {p50:.1} / {p99:.1} / {longest:.1} s |",
        findings.jobs,
        faults.len(),
        kinds.join(", "),
        findings.lost,
        findings.doubled,
        findings.orphans,
        findings.copies,
        findings.mails,
    )
}

/// The table's head.
pub(crate) const HEAD: &str = "| seed | jobs | faults | lost | doubled | orphans | mail copies | recovery p50 / p99 / max |\n\
                               |---|---|---|---|---|---|---|---|";
