//! What any [`JobStore`] keeps. [`job_store_suite!`](crate::job_store_suite) makes a test of each behaviour.
//!
//! A behaviour gets a [`Bench`]: an empty store, the same records as another process sees them, and a hand on time,
//! so that nothing waits for a lease to end.

pub mod adoption;
pub mod announcing;
pub mod claims;
pub mod keys;
pub mod mails;
pub mod records;
pub mod settlements;
pub mod uploads;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use domain::{
    Address, Claim, Fid, Job, JobId, JobStore, Mp3, NewJob, Note, Options, Reason, ReasonCode, Settlement, Step,
    TraceParent, Track, Uploaded, Work,
};

/// More than half a lease and less than a whole one, whatever the machine is busy with.
pub const WITHIN_A_LEASE: Duration = Duration::from_secs(20);
/// Longer than a lease.
pub const BEYOND_A_LEASE: Duration = Duration::from_secs(31);

/// Makes time pass for the records of one store.
#[async_trait]
pub trait Ageing: Send + Sync {
    /// Moves every beginning, lease, due time, debt and end of every record into the past by this much.
    async fn age(&self, by: Duration) -> anyhow::Result<()>;

    /// Moves every time of every record that is not 1970 into the future by this much, as a clock does that is set
    /// back.
    async fn set_clock_back(&self, by: Duration) -> anyhow::Result<()>;
}

/// An empty store to try a behaviour on.
pub struct Bench {
    /// The store.
    pub store: Arc<dyn JobStore>,
    /// The same records through an adapter of their own, as another process has one.
    pub other: Arc<dyn JobStore>,
    /// How time passes.
    pub ageing: Box<dyn Ageing>,
}

impl Bench {
    /// Makes time pass.
    ///
    /// # Errors
    /// The store is away.
    pub async fn pass(&self, time: Duration) -> anyhow::Result<()> {
        self.ageing.age(time).await
    }

    /// A job whose upload has begun.
    ///
    /// # Errors
    /// The store is away.
    pub async fn receiving(&self) -> anyhow::Result<JobId> {
        let job = new_job(ada());
        let id = job.id;
        self.store.create(job).await?;
        Ok(id)
    }

    /// A job that waits for a converter.
    ///
    /// # Errors
    /// The store is away.
    pub async fn queued(&self) -> anyhow::Result<JobId> {
        let id = self.receiving().await?;
        let committed = self.store.commit_upload(id, uploaded()).await?;
        anyhow::ensure!(committed, "an upload that just began can be committed");
        Ok(id)
    }

    /// A claim on the conversion of a new job.
    ///
    /// # Errors
    /// The store is away, or does not give the claim.
    pub async fn converting(&self) -> anyhow::Result<Claim> {
        let id = self.queued().await?;
        self.claim(Step::Convert, id).await
    }

    /// A new job that ended like this.
    ///
    /// # Errors
    /// The store is away, or does not let it end so.
    pub async fn ended(&self, end: impl FnOnce(&Claim) -> Settlement) -> anyhow::Result<JobId> {
        let claim = self.converting().await?;
        let settlement = end(&claim);
        anyhow::ensure!(
            self.store.settle(&claim, settlement).await?,
            "a new claim can be settled"
        );
        Ok(claim.job.id)
    }

    /// A claim on a job's step.
    ///
    /// # Errors
    /// The store is away, or does not give the claim.
    pub async fn claim(&self, step: Step, id: JobId) -> anyhow::Result<Claim> {
        let claim = self.store.claim(step, id).await?;
        claim.with_context(|| format!("{step:?} of {id} can be claimed"))
    }

    /// A job that exists.
    ///
    /// # Errors
    /// The store is away, or does not know it.
    pub async fn job(&self, id: JobId) -> anyhow::Result<Job> {
        self.store.get(id).await?.context("the job exists")
    }
}

/// An owner whose spelling shows whether it is kept, and whether it is taken for something else.
pub fn ada() -> Address {
    address("$Ada@Example.com")
}

/// The address of that spelling.
///
/// # Panics
/// When it is none.
pub fn address(text: &str) -> Address {
    text.parse().expect("a valid address")
}

/// A new job of that owner, with text that a query language might take for its own.
pub fn new_job(owner: Address) -> NewJob {
    NewJob {
        id: Fid::new(),
        owner,
        filename: "$owner's {\"talk\"}; --.mp4".to_owned(),
        key: None,
        trace: Some(trace()),
    }
}

/// A place in a trace.
pub fn trace() -> TraceParent {
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        .parse()
        .expect("the specification's example")
}

/// What is known of an upload at its end.
pub fn uploaded() -> Uploaded {
    Uploaded {
        size_bytes: 5_000_000_000,
        options: Options {
            bitrate: Some(320),
            rate: Some(48_000),
            track: Some(Track::Language("deu".to_owned())),
            start: Some("1:02.345".parse().expect("a position")),
            ..Options::default()
        },
        sha256: Some("5e".repeat(32)),
    }
}

/// The MP3 a claim on a conversion leads to.
pub fn mp3_of(claim: &Claim) -> Mp3 {
    Mp3 {
        fid: attempt_of(claim),
        size_bytes: Some(4_000_000_000),
        duration_ms: Some(3_600_000),
        notes: vec![Note {
            code: "gaps".to_owned(),
            message: "$message: what was done.".to_owned(),
            loss: true,
            details: [("count".to_owned(), 3.into()), ("of".to_owned(), "$now".into())]
                .into_iter()
                .collect(),
        }],
    }
}

/// The id a claim on a conversion stores its MP3 under.
///
/// # Panics
/// When the claim is for a mail.
pub fn attempt_of(claim: &Claim) -> Fid {
    match claim.work {
        Work::Convert { mp3_fid, .. } => mp3_fid,
        Work::Tell(_) => panic!("a claim on a mail"),
    }
}

/// A reason of this code.
pub fn reason(code: ReasonCode) -> Reason {
    Reason {
        code,
        message: "$reason: what happened, and the way out.".to_owned(),
    }
}

/// The conversion of this claim went well.
pub fn converted(claim: &Claim) -> Settlement {
    Settlement::Converted(mp3_of(claim))
}

/// The conversion of this claim went well, and its video may go.
pub fn converted_for_good(claim: &Claim) -> Settlement {
    Settlement::ConvertedForGood(mp3_of(claim))
}

/// The upload is at fault.
pub fn failed(_: &Claim) -> Settlement {
    Settlement::Failed(reason(ReasonCode::NoAudio))
}

/// We are at fault.
pub fn dead(_: &Claim) -> Settlement {
    Settlement::Dead(reason(ReasonCode::Dead))
}

/// A test of each behaviour of a job store. `$open` is an async function that gives a fresh
/// [`Bench`](crate::conformance::jobs::Bench).
#[macro_export]
macro_rules! job_store_suite {
    ($open:path) => {
        $crate::job_store_suite! { $open;
            uploads::an_upload_begins_as_receiving_and_exists_once;
            uploads::a_commit_queues_the_job_and_keeps_what_is_known_of_the_upload;
            uploads::a_commit_repeated_after_a_lost_answer_is_still_a_commit;
            uploads::an_upload_is_held_until_its_lease_ends;
            uploads::lapsed_uploads_are_listed_oldest_first;
            uploads::a_failed_upload_tells_nobody_and_cannot_be_committed;
            uploads::a_commit_and_a_failure_at_once_have_one_winner;
            keys::a_key_names_one_upload_of_its_owner;
            keys::of_two_uploads_with_one_key_at_once_one_begins;
            keys::the_key_of_an_upload_that_came_to_nothing_is_free_again;
            keys::a_key_stays_with_its_job;
            claims::many_claimers_at_once_never_share_a_job;
            claims::one_job_claimed_by_many_at_once_has_one_winner;
            claims::the_oldest_job_is_claimed_first;
            claims::a_claim_begins_an_attempt_with_an_mp3_id_of_its_own;
            claims::a_job_that_may_not_run_now_cannot_be_claimed;
            claims::a_lapsed_claim_can_be_taken_over_and_is_counted;
            claims::a_claim_that_was_never_renewed_counts_nowhere;
            claims::a_renewed_claim_is_held_for_another_lease;
            claims::a_lapsed_claim_that_nobody_took_over_still_holds;
            claims::progress_is_recorded_as_a_share;
            claims::a_clock_that_is_set_back_holds_nothing_up;
            claims::what_waits_to_be_claimed_is_counted_and_its_oldest_has_an_age;
            settlements::a_conversion_ends_as_done;
            settlements::a_verdict_ends_the_job_with_its_reason;
            settlements::a_retry_waits_for_its_delay;
            settlements::a_released_claim_is_due_at_once_and_not_counted;
            settlements::a_claim_is_settled_once;
            settlements::a_settlement_repeated_after_a_lost_answer_is_recognised;
            settlements::an_older_claim_changes_nothing;
            settlements::settlements_at_once_have_one_winner;
            settlements::a_settlement_of_the_other_step_is_refused;
            mails::every_verdict_owes_one_mail;
            mails::a_mail_is_retried_on_its_own_count;
            mails::a_mail_whose_sender_vanished_is_sent_by_another;
            mails::a_mail_does_not_touch_the_conversions_progress;
            mails::a_mail_about_an_old_verdict_does_not_end_the_mail_about_the_new_one;
            mails::nobody_is_told_of_a_cancelled_job;
            mails::old_mails_that_nobody_tried_are_let_go;
            mails::a_mail_that_was_ever_claimed_is_never_let_go;
            mails::a_mail_owed_while_we_were_in_charge_is_never_let_go;
            mails::a_message_brings_a_mail_back_that_was_let_go;
            mails::a_mail_in_doubt_is_due_at_once_and_stays_in_doubt;
            mails::a_new_verdict_is_in_no_doubt;
            adoption::an_unknown_video_becomes_a_queued_job;
            adoption::an_unknown_mp3_becomes_a_done_job_with_a_mail;
            adoption::a_message_about_a_known_job_changes_nothing;
            adoption::a_foreign_mp3_completes_a_job_that_has_none;
            adoption::a_foreign_mp3_takes_the_job_from_our_converter;
            adoption::a_foreign_mp3_revives_a_job_that_was_given_up;
            adoption::a_done_job_keeps_its_mp3;
            adoption::a_cancelled_job_stays_cancelled;
            adoption::what_comes_from_a_queue_counts_as_announced;
            adoption::adopting_one_message_many_times_at_once_makes_one_job;
            announcing::a_queued_job_is_announced_by_others_after_its_lease;
            announcing::unannounced_jobs_are_counted;
            announcing::a_done_job_owes_the_announcement_of_its_mp3;
            announcing::only_jobs_with_something_to_do_are_announced;
            announcing::the_announcement_owed_longest_comes_first;
            announcing::an_announcement_claimed_by_many_at_once_has_one_winner;
            announcing::a_late_mark_does_not_end_the_next_announcement;
            records::whoever_works_on_a_job_learns_of_its_trace;
            records::jobs_are_listed_newest_first_in_pages;
            records::a_list_is_narrowed_by_owner_in_any_spelling_and_by_state;
            records::a_job_is_found_by_its_finished_mp3;
            records::an_unfinished_job_can_be_cancelled_once;
            records::a_replay_begins_anew;
            records::a_job_without_its_whole_upload_is_never_replayed;
            records::videos_are_live_until_nothing_can_come_of_them;
            records::mp3s_are_live_while_written_or_finished;
            records::references_keep_the_order_of_the_question;
            records::the_store_answers;
        }
    };
    ($open:path; $($module:ident :: $behaviour:ident;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $behaviour() -> anyhow::Result<()> {
            $crate::conformance::jobs::$module::$behaviour($open().await?).await
        }
    )* };
}
