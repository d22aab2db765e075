//! The engine's child: what crosses to it and back, what becomes of one that misbehaves, and what it cannot do.
//!
//! This program is the child of its own tests, so it has a `main` of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(
    clippy::print_stdout,
    reason = "what libtest prints, and how the processes here talk to each other"
)]

mod conversions;
mod endings;
mod escape;
mod harness;
mod hostile;
mod music;
mod processes;

use std::process::ExitCode;

use harness::tests;

fn main() -> ExitCode {
    hostile::run_if_hostile();
    media::child::run_if_child();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("escape") => return escape::compare(),
        Some("probe") => return escape::probe(&arguments[2..]),
        Some("hold-a-child") => return endings::hold_a_child(),
        Some("convert-here") => return conversions::convert_here(),
        _ => {}
    }
    harness::run(&tests![
        conversions::every_sample_gives_the_bytes_it_gives_without_a_child,
        conversions::a_pipe_gives_the_same_bytes_too,
        conversions::a_verdict_comes_back_as_it_is,
        conversions::the_sources_error_comes_back_with_its_text,
        conversions::the_sinks_error_comes_back_with_its_text,
        conversions::a_setting_out_of_range_is_refused_by_name,
        conversions::a_file_that_needs_seeking_is_told_from_a_damaged_one,
        conversions::progress_is_told_and_only_grows,
        conversions::several_children_work_side_by_side,
        conversions::a_child_outlives_the_thread_that_started_it,
        conversions::nobody_can_convert_too,
        conversions::the_same_file_gives_the_same_mp3,
        endings::a_cancel_kills_a_child_that_spins,
        endings::a_cancel_kills_a_child_that_does_not_listen,
        endings::a_cancel_does_not_wait_for_a_child_to_get_ready,
        endings::a_panic_of_the_source_kills_the_child,
        endings::a_child_that_is_dropped_is_gone,
        endings::a_child_dies_with_its_parent,
        endings::an_idle_child_dies_with_its_parent,
        endings::signals_that_stop_programs_do_not_stop_a_child,
        endings::what_it_may_use_is_bounded_from_outside,
        endings::time_runs_out,
        hostile::a_crash_is_the_files_fault,
        hostile::a_kill_from_outside_is_not,
        hostile::a_child_that_ends_without_a_word_crashed,
        hostile::a_child_that_never_starts_is_trouble_of_ours,
        hostile::a_child_of_another_build_is_trouble_of_ours,
        hostile::memory_has_a_bound,
        hostile::more_mp3_than_allowed_is_not_taken,
        hostile::nonsense_ends_the_child,
        hostile::a_result_that_does_not_fit_is_nonsense,
        hostile::nothing_outside_the_file_is_read,
        hostile::the_file_is_not_read_again_and_again,
        hostile::a_child_that_closes_its_socket_and_lives_on_is_at_fault,
        hostile::threads_have_a_bound,
        music::what_plays_for_ever_is_too_long,
        music::of_what_plays_for_ever_a_part_can_be_had,
        music::a_file_that_does_not_fit_into_its_memory_ends_in_a_verdict,
        escape::nothing_gets_out_as_this_user,
        escape::nothing_gets_out_as_an_unprivileged_user,
    ])
}
