//! I6: the queues are empty, and only garbage is among the dead letters.

use std::time::Duration;

use testkit::servers::QueueState;
use tokio::time::{Instant, sleep};

use super::Findings;
use crate::inject::GARBAGE;
use crate::load::Load;
use crate::plan::Act;
use crate::report::Window;

/// How long the queues may take to come to rest, with what is given back meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// The counts of the management API are up to five seconds old: what is so twice is so.
const BETWEEN_READINGS: Duration = Duration::from_secs(6);

/// What is in the queues.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    waiting: u64,
    /// By dead-letter queue.
    dead: Vec<(String, u64)>,
}

impl Reading {
    fn of(queues: Vec<QueueState>) -> Self {
        let (work, dead): (Vec<_>, Vec<_>) = queues
            .into_iter()
            .partition(|queue| ["video", "mp3"].contains(&&*queue.name));
        Self {
            waiting: work.iter().map(|queue| queue.messages).sum(),
            dead: dead.into_iter().map(|queue| (queue.name, queue.messages)).collect(),
        }
    }
}

/// Asks the broker until it says the same twice and nothing waits, or patience ends; then reads the dead letters.
///
/// # Errors
/// The broker does not answer.
pub(super) async fn check(load: &Load, faults: &[Window], findings: &mut Findings) -> anyhow::Result<()> {
    let is_garbage = |window: &&Window| matches!(window.fault.act, Act::Garbage(_));
    let garbage = faults.iter().filter(is_garbage).count();
    let give_up = Instant::now() + PATIENCE;
    let mut reading = Reading::of(load.home.queues().await?);
    // Where there is no broker there is nothing to wait for.
    while !reading.dead.is_empty() || reading.waiting > 0 {
        sleep(BETWEEN_READINGS).await;
        let again = Reading::of(load.home.queues().await?);
        let is_rest = again == reading && again.waiting == 0;
        reading = again;
        if is_rest || Instant::now() > give_up {
            break;
        }
    }
    let mut bodies = Vec::new();
    for (queue, count) in &reading.dead {
        // One more than were counted.
        let limit = u32::try_from(*count)?.saturating_add(1);
        bodies.extend(load.home.bodies(queue, limit).await?);
    }
    for what in broken(&reading, &bodies, garbage) {
        findings.breach("I6", &[], what);
    }
    Ok(())
}

/// What is wrong with queues in which this is left, after so much garbage.
fn broken(reading: &Reading, bodies: &[String], garbage: usize) -> Vec<String> {
    let mut broken = Vec::new();
    if reading.waiting > 0 {
        let dead = bodies.len();
        broken.push(format!(
            "{} messages wait, and there are {dead} dead letters",
            reading.waiting
        ));
    }
    if bodies.len() > garbage {
        broken.push(format!("{} dead letters of {garbage} garbage messages", bodies.len()));
    }
    let strange = bodies.iter().filter(|body| *body != GARBAGE);
    broken.extend(strange.map(|body| format!("a dead letter that was no garbage: {body}")));
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_that_is_no_garbage_is_a_breach_however_few_there_are() {
        let rest = Reading {
            waiting: 0,
            dead: vec![("video.dead".to_owned(), 1)],
        };
        assert!(broken(&rest, &[GARBAGE.to_owned()], 2).is_empty());
        let said = broken(&rest, &[r#"{"video_fid":"1"}"#.to_owned()], 2);
        assert!(said.len() == 1 && said[0].contains("video_fid"), "{said:?}");
        assert_eq!(broken(&rest, &[GARBAGE.to_owned(), GARBAGE.to_owned()], 1).len(), 1);
    }

    #[test]
    fn a_message_that_waits_is_a_breach() {
        let stuck = Reading {
            waiting: 1,
            dead: Vec::new(),
        };
        assert_eq!(broken(&stuck, &[], 5).len(), 1);
    }
}
