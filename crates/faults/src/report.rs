//! What is said at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::Findings;
use crate::plan::{Fault, KINDS, SPECIAL_KINDS};

/// A fault that was injected, and from when to when.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) fault: Fault,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
}

#[cfg(test)]
impl Window {
    /// A fault from one second to another.
    pub(crate) fn of(act: crate::plan::Act, began: u64, ended: u64) -> Self {
        let fault = Fault {
            kind: "F",
            act,
            lasts: Duration::ZERO,
        };
        Self {
            fault,
            began: Duration::from_secs(began),
            ended: Duration::from_secs(ended),
        }
    }
}

/// How many faults began while a job was between its acceptance and its end, both in `(accepted, ended)`.
pub(crate) fn hits(faults: &[Window], jobs: &[(Duration, Duration)]) -> usize {
    let is_hit = |window: &&Window| {
        jobs.iter()
            .any(|(accepted, ended)| *accepted <= window.began && window.began < *ended)
    };
    faults.iter().filter(is_hit).count()
}

/// How many faults there are of each kind.
pub(crate) fn by_kind<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> BTreeMap<&'static str, usize> {
    let mut by_kind = BTreeMap::new();
    for fault in faults {
        *by_kind.entry(fault.kind).or_default() += 1;
    }
    by_kind
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
pub(crate) fn row(seed: u64, faults: &[Window], findings: &Findings) -> String {
    let by_kind = by_kind(faults.iter().map(|window| &window.fault));
    let in_order = KINDS
        .iter()
        .chain(&SPECIAL_KINDS)
        .filter_map(|kind| Some(format!("{kind} {}", by_kind.get(kind)?)));
    let kinds: Vec<String> = in_order.collect();
    let [p50, p99, longest] = percentiles(findings.recovery.jobs.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Act;

    #[test]
    fn a_fault_falls_on_work_only_when_an_accepted_job_has_not_ended() {
        let seconds = Duration::from_secs;
        let window = |began| Window {
            fault: Fault {
                kind: "F7",
                act: Act::KillMongo,
                lasts: Duration::ZERO,
            },
            began: seconds(began),
            ended: seconds(began + 10),
        };
        let jobs = [(seconds(5), seconds(7)), (seconds(20), seconds(40))];
        let hit = |began| hits(&[window(began)], &jobs) == 1;
        assert!(hit(5) && hit(6) && hit(20) && hit(39));
        // Before the answer, after the end, and between two jobs, although it lasts into the second.
        assert!(!hit(4) && !hit(7) && !hit(15) && !hit(40));
    }
}
