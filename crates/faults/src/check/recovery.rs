//! I7: how long jobs, and then their mails, took while nothing was broken that they cannot do without.
//!
//! From a job's acceptance to its end, less the time in which MongoDB was away or both converters at once; from its end
//! to its mail, less the time in which MongoDB was away, the mail server was in a mood, or both notifications were away
//! at once. So a fault that lasts longer hides nothing but its own time, however many overlap; a broker that is away,
//! or one instance of two, is no excuse at all. What a job takes anyway is in it: what it takes without any fault
//! stands beside.

use std::time::Duration;

use super::{Findings, owes_mail};
use crate::load::Load;
use crate::plan::{INSTANCES, Service};
use crate::report::{Window, percentiles};
use crate::say;

const P99_SECONDS: f64 = 60.0;
const MAX_SECONDS: f64 = 180.0;
/// A mail that was not taken waits for one minute and then for five: RFC 5321 asks for such waits.
const MAX_SECONDS_OF_A_POSTPONED_MAIL: f64 = 60.0 + 300.0 + MAX_SECONDS;

/// The waits, by what was in their way.
#[derive(Clone, Default)]
pub(crate) struct Recovery {
    /// Of jobs while some fault was on.
    pub(crate) jobs: Vec<Duration>,
    /// Of all other jobs.
    undisturbed: Vec<Duration>,
    /// Of mails while the mail server was well.
    mails: Vec<Duration>,
    /// Of mails that fell in one of its moods.
    postponed_mails: Vec<Duration>,
}

/// Times from and to which something was so, in order and apart.
type Spans = Vec<(Duration, Duration)>;

pub(super) fn check(load: &Load, faults: &[Window], findings: &mut Findings) {
    let to_convert = away(faults, "converter", |_| false);
    let to_tell = away(faults, "notification", |window| window.fault.is_of_mail_server());
    let mails = load.home.sink().mails();
    let mut recovery = Recovery::default();
    for (id, job) in load.accepted() {
        let Some((record, ended)) = job.ended else {
            continue;
        };
        let wait = without(job.at, ended, &to_convert);
        let is_disturbed = faults.iter().any(|fault| fault.began < ended && fault.ended > job.at);
        let waits = if is_disturbed {
            &mut recovery.jobs
        } else {
            &mut recovery.undisturbed
        };
        waits.push(wait);
        let told = mails.iter().filter(|mail| mail.message_id.contains(&id));
        if let Some(told) = told.map(|mail| mail.at).min().filter(|_| owes_mail(&record)) {
            let meets =
                |fault: &&Window| fault.fault.is_of_mail_server() && fault.began <= told && fault.ended >= ended;
            let waits = match faults.iter().find(meets) {
                Some(_) => &mut recovery.postponed_mails,
                None => &mut recovery.mails,
            };
            waits.push(without(ended, told, &to_tell));
        }
    }
    findings.recovery = recovery;
}

impl Recovery {
    /// Says all of it, and gives what is too long.
    pub(crate) fn judge(&self) -> Vec<String> {
        let limits = [
            ("jobs under faults", &self.jobs, P99_SECONDS, MAX_SECONDS),
            ("jobs without any fault", &self.undisturbed, P99_SECONDS, MAX_SECONDS),
            ("mails after their job's end", &self.mails, P99_SECONDS, MAX_SECONDS),
            (
                "mails while the mail server was in a mood",
                &self.postponed_mails,
                MAX_SECONDS_OF_A_POSTPONED_MAIL,
                MAX_SECONDS_OF_A_POSTPONED_MAIL,
            ),
        ];
        let mut broken = Vec::new();
        for (what, waits, p99_limit, max_limit) in limits {
            let [p50, p99, longest] = percentiles(waits.clone());
            let figures = format!(
                "{} {what}: p50 / p99 / max {p50:.1} / {p99:.1} / {longest:.1} s",
                waits.len()
            );
            if !waits.is_empty() {
                say(&figures);
            }
            if p99 > p99_limit || longest > max_limit {
                broken.push(format!("{figures}, at most {p99_limit} and {max_limit} s are promised"));
            }
        }
        broken
    }
}

/// When MongoDB was away, all instances of a service at once, or what `else_away` says.
fn away(faults: &[Window], service: &str, else_away: impl Fn(&Window) -> bool) -> Spans {
    let spans_of = |is_so: &dyn Fn(&Window) -> bool| {
        let spans = faults.iter().filter(|window| is_so(window));
        union(spans.map(|window| (window.began, window.ended)).collect())
    };
    let instances: Vec<Service> = INSTANCES.into_iter().filter(|instance| instance.0 == service).collect();
    let of_instances = instances
        .iter()
        .map(|instance| spans_of(&|window| window.fault.stops(*instance)));
    let all_at_once = of_instances.reduce(|one, other| both(&one, &other)).unwrap_or_default();
    let everything = spans_of(&|window| window.fault.stops_everything() || else_away(window));
    union([all_at_once, everything].concat())
}

/// The same time in order and without overlaps.
fn union(mut spans: Spans) -> Spans {
    spans.sort_unstable();
    let mut union: Spans = Vec::new();
    for (from, to) in spans {
        match union.last_mut() {
            Some((_, last)) if from <= *last => *last = to.max(*last),
            _ => union.push((from, to)),
        }
    }
    union
}

/// The time in both.
fn both(one: &Spans, other: &Spans) -> Spans {
    let pairs = one
        .iter()
        .flat_map(|a| other.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
    union(pairs.filter(|(from, to)| from < to).collect())
}

/// The time between two moments without what lies in `spans`.
fn without(from: Duration, to: Duration, spans: &Spans) -> Duration {
    let lost = spans.iter().map(|span| span.1.min(to).saturating_sub(span.0.max(from)));
    to.saturating_sub(from).saturating_sub(lost.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Act;

    /// What counts of the time from second 0 to second 300.
    fn seconds(faults: &[Window]) -> u64 {
        without(
            Duration::ZERO,
            Duration::from_secs(300),
            &away(faults, "converter", |_| false),
        )
        .as_secs()
    }

    #[test]
    fn a_fault_excuses_its_own_time_and_no_other() {
        assert_eq!(seconds(&[]), 300);
        assert_eq!(seconds(&[Window::of(Act::FreezeMongo, 10, 30)]), 280);
        // They overlap, and one outlasts the job.
        let overlapping = [
            Window::of(Act::KillMongo, 10, 30),
            Window::of(Act::FreezeMongo, 20, 40),
            Window::of(Act::FreezeMongo, 290, 500),
        ];
        assert_eq!(seconds(&overlapping), 260);
    }

    #[test]
    fn what_jobs_can_do_without_is_no_excuse() {
        let one = Window::of(Act::Freeze(Service("converter", 0)), 0, 300);
        let other = Window::of(Act::Freeze(Service("converter", 1)), 250, 400);
        assert_eq!(seconds(&[Window::of(Act::KillBroker, 0, 300)]), 300);
        assert_eq!(
            seconds(&[Window::of(Act::Freeze(Service("notification", 0)), 0, 300)]),
            300
        );
        assert_eq!(seconds(std::slice::from_ref(&one)), 300);
        assert_eq!(seconds(&[one, other]), 250);
    }

    #[test]
    fn too_long_a_wait_is_a_breach() {
        let of = |longest: u64, others: u64| Recovery {
            jobs: [
                vec![Duration::from_secs(longest)],
                vec![Duration::from_secs(others); 198],
            ]
            .concat(),
            ..Recovery::default()
        };
        assert!(of(180, 60).judge().is_empty());
        assert_eq!(of(181, 1).judge().len(), 1);
        assert_eq!(of(61, 61).judge().len(), 1);
    }
}
