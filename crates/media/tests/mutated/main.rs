//! Thousands of damaged files through the sandboxed child: each ends in an MP3 or in a documented verdict, and the
//! parent lives.
//!
//! ```text
//! cargo test -p media --test mutated -- --mutations=5000 --seed=7
//! cargo test -p media --test mutated -- --seed=7 --only=123 --keep=/tmp/123.bin
//! ```
//!
//! This program is the child of its own test, so it has a `main` of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "what libtest prints, and the table of verdicts")]

mod campaign;
#[path = "../child/harness.rs"]
mod harness;
mod mutation;
mod structure;

use std::process::ExitCode;

fn main() -> ExitCode {
    media::child::run_if_child();
    harness::run(&harness::tests![
        campaign::damaged_media_ends_in_an_mp3_or_a_documented_verdict,
        campaign::a_seed_gives_the_same_damage_again,
    ])
}
