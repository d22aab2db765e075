//! The engine on real files: what converts, what it sounds like, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod changes;
mod channels;
mod chapters;
mod choice;
mod clock;
mod copy;
mod covers;
mod damage;
mod failures;
mod formats;
mod head;
mod hostile;
mod late;
mod lengths;
mod mixing;
mod options;
mod parallel;
mod reading;
mod samples;
mod several;
mod support;
mod tags;
mod tones;
mod tracks;
mod verdicts;
mod widths;
