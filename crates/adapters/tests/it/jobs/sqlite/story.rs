//! Two workers, the queues, the owner and an operator at one job, in any order: the store does what the model does.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::{
    Announcement, Bucket, Claim, Fid, JobId, JobMessage, JobState, JobStore, Mp3, NewJob, ReasonCode, Reference,
    Settlement, Step, VerdictKind, Work,
};
use proptest::prelude::*;
use testkit::conformance::jobs::{BEYOND_A_LEASE, Bench, ada, attempt_of, new_job, reason, uploaded};

use super::model::{End, Model};

/// Something anybody may do to the job.
#[derive(Clone, Debug)]
enum Deed {
    Create,
    Commit,
    FailUpload,
    RenewUpload,
    ClaimDue { worker: usize, step: Step },
    Claim { worker: usize, step: Step },
    Renew { worker: usize, step: Step },
    Settle { worker: usize, step: Step, end: End },
    Adopt { mp3: Option<usize> },
    Announced(Announcement),
    Cancel,
    Replay,
    Pass,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let worker = 0..2_usize;
    let step = prop_oneof![Just(Step::Convert), Just(Step::Tell)];
    let hand = (worker, step);
    let conversion_end = prop_oneof![
        3 => Just(End::Converted),
        2 => Just(End::Failed),
        2 => Just(End::Dead),
        1 => Just(End::Retry),
        1 => Just(End::Released),
    ];
    let mail_end = prop_oneof![Just(End::Told), Just(End::Retry), Just(End::Released)];
    let settle = |step| move |(worker, end)| Deed::Settle { worker, step, end };
    let deed = prop_oneof![
        1 => Just(Deed::Create),
        2 => Just(Deed::Commit),
        1 => Just(Deed::FailUpload),
        1 => Just(Deed::RenewUpload),
        4 => hand.clone().prop_map(|(worker, step)| Deed::ClaimDue { worker, step }),
        4 => hand.clone().prop_map(|(worker, step)| Deed::Claim { worker, step }),
        3 => hand.clone().prop_map(|(worker, step)| Deed::Renew { worker, step }),
        6 => (0..2_usize, conversion_end).prop_map(settle(Step::Convert)),
        4 => (0..2_usize, mail_end).prop_map(settle(Step::Tell)),
        2 => prop_oneof![Just(None), Just(Some(0)), Just(Some(1))].prop_map(|mp3| Deed::Adopt { mp3 }),
        1 => Just(Deed::Announced(Announcement::Video)),
        1 => Just(Deed::Announced(Announcement::Mp3)),
        1 => Just(Deed::Cancel),
        3 => Just(Deed::Replay),
        4 => Just(Deed::Pass),
    ];
    // A worker that comes back after another one took over is what fences are for: more often than chance has it.
    let takeover = hand.prop_map(|(worker, step)| {
        let by = |worker| Deed::ClaimDue { worker, step };
        vec![by(worker), Deed::Pass, by(1 - worker)]
    });
    let scene = prop_oneof![5 => deed.prop_map(|deed| vec![deed]), 1 => takeover];
    prop::collection::vec(scene, 1..40).prop_map(|scenes| {
        let mut deeds = scenes.concat();
        // Most stories begin with a whole upload, some with a broken one, a few with a foreign gateway's message.
        match deeds[0] {
            Deed::Adopt { .. } => {}
            Deed::FailUpload | Deed::RenewUpload => deeds.insert(0, Deed::Create),
            _ => drop(deeds.splice(..0, [Deed::Create, Deed::Commit])),
        }
        deeds
    })
}

/// The store, the model, and what the workers hold in their hands.
struct Story {
    bench: Bench,
    id: JobId,
    foreign_mp3s: [Fid; 2],
    model: Option<Model>,
    hands: [[Option<(usize, Claim)>; 2]; 2],
    claims: usize,
}

impl Story {
    fn store(&self, worker: usize) -> &dyn JobStore {
        [&*self.bench.store, &*self.bench.other][worker]
    }

    fn hand(&mut self, worker: usize, step: Step) -> &mut Option<(usize, Claim)> {
        &mut self.hands[worker][usize::from(step == Step::Tell)]
    }

    async fn act(&mut self, deed: &Deed) -> Result<()> {
        let id = self.id;
        let store = std::sync::Arc::clone(&self.bench.store);
        let receiving = self.model.as_mut().filter(|model| model.state == JobState::Receiving);
        match *deed {
            Deed::Create => {
                let created = store.create(NewJob { id, ..new_job(ada()) }).await.is_ok();
                assert_eq!(created, self.model.is_none());
                self.model.get_or_insert_with(|| Model::new(JobState::Receiving));
            }
            Deed::Commit => {
                let committed = store.commit_upload(id, uploaded()).await?;
                if let Some(model) = receiving {
                    model.queue();
                }
                assert_eq!(committed, self.model.as_ref().is_some_and(|model| model.uploaded));
            }
            Deed::FailUpload => {
                let failed = store.fail_upload(id, reason(ReasonCode::UploadInterrupted)).await?;
                assert_eq!(failed, receiving.is_some());
                if let Some(model) = receiving {
                    (model.state, model.reason) = (JobState::Failed, Some(ReasonCode::UploadInterrupted));
                }
            }
            Deed::RenewUpload => {
                assert_eq!(store.renew_upload(id).await?, receiving.is_some());
                if let Some(model) = receiving {
                    model.upload_lapsed = false;
                }
            }
            Deed::ClaimDue { worker, step } => {
                let claim = self.store(worker).claim_due(step).await?;
                self.claimed(worker, step, claim)?;
            }
            Deed::Claim { worker, step } => {
                let claim = self.store(worker).claim(step, id).await?;
                self.claimed(worker, step, claim)?;
            }
            Deed::Renew { worker, step } => self.renew(worker, step).await?,
            Deed::Settle { worker, step, end } => self.settle(worker, step, end).await?,
            Deed::Adopt { mp3 } => {
                let mp3_fid = mp3.map(|which| self.foreign_mp3s[which]);
                let message = JobMessage {
                    video_fid: id,
                    mp3_fid,
                    username: ada(),
                    trace: None,
                };
                store.adopt(&message).await?;
                let model = self.model.get_or_insert_with(|| {
                    let mut model = Model::new(JobState::Queued);
                    model.queue();
                    model
                });
                model.adopt(mp3_fid);
            }
            Deed::Announced(announcement) => {
                store.mark_announced(id, announcement).await?;
                if let Some(model) = self.model.as_mut().filter(|model| model.owed == Some(announcement)) {
                    model.announce(None);
                }
            }
            Deed::Cancel => {
                let cancelled = store.cancel(id, reason(ReasonCode::Cancelled)).await?;
                let unfinished = |model: &&mut Model| matches!(model.state, JobState::Queued | JobState::Converting);
                let model = self.model.as_mut().filter(unfinished);
                assert_eq!(cancelled, model.is_some());
                if let Some(model) = model {
                    model.end(JobState::Cancelled, None, Some(ReasonCode::Cancelled));
                }
            }
            Deed::Replay => {
                let replayed = store.replay(id).await?;
                let replayable =
                    |model: &&mut Model| matches!(model.state, JobState::Failed | JobState::Dead) && model.uploaded;
                let model = self.model.as_mut().filter(replayable);
                assert_eq!(replayed, model.is_some());
                if let Some(model) = model {
                    (model.attempts, model.progress, model.reason) = (0, 0.0, None);
                    model.tell.finish();
                    model.queue();
                }
            }
            Deed::Pass => {
                self.bench.pass(BEYOND_A_LEASE).await?;
                if let Some(model) = &mut self.model {
                    model.pass();
                }
            }
        }
        self.compare().await
    }

    fn claimed(&mut self, worker: usize, step: Step, claim: Option<Claim>) -> Result<()> {
        self.claims += 1;
        let number = self.claims;
        let model = self.model.as_mut();
        let model = model.and_then(|model| model.schedule(step).claim(number).then_some(model));
        assert_eq!(claim.is_some(), model.is_some(), "{claim:?}");
        let Some((claim, model)) = claim.zip(model) else {
            return Ok(());
        };
        match claim.work {
            Work::Convert { mp3_fid, predecessor } => {
                assert_eq!(predecessor, model.attempt);
                assert!(!model.every_attempt.contains(&mp3_fid));
                model.attempt = Some(mp3_fid);
                model.every_attempt.push(mp3_fid);
                (model.state, model.progress) = (JobState::Converting, 0.0);
                model.attempts += 1;
            }
            Work::Tell(kind) => assert_eq!(Some(kind), VerdictKind::of(model.state)),
        }
        let schedule = model.schedule(step);
        assert_eq!((claim.step(), claim.job.id), (step, self.id));
        assert_eq!((claim.failures, claim.lapses), (schedule.failures, schedule.lapses));
        *self.hand(worker, step) = Some((number, claim));
        Ok(())
    }

    async fn renew(&mut self, worker: usize, step: Step) -> Result<()> {
        let Some((number, claim)) = self.hand(worker, step).clone() else {
            return Ok(());
        };
        let renewed = self.store(worker).renew(&claim, Some(0.5)).await?;
        let model = self.model.as_mut().context("a claim has a job")?;
        let schedule = model.schedule(step);
        assert_eq!(renewed, schedule.holder == Some(number));
        if renewed {
            (schedule.renewed, schedule.lapsed) = (true, false);
            if step == Step::Convert {
                model.progress = 0.5;
            }
        }
        Ok(())
    }

    async fn settle(&mut self, worker: usize, step: Step, end: End) -> Result<()> {
        let Some((number, claim)) = self.hand(worker, step).clone() else {
            return Ok(());
        };
        let attempt = (step == Step::Convert).then(|| attempt_of(&claim));
        let settlement = match end {
            End::Converted => Settlement::Converted(Mp3 {
                fid: attempt.context("a conversion has an attempt")?,
                size_bytes: None,
                duration_ms: None,
                notes: Vec::new(),
            }),
            End::Failed => Settlement::Failed(reason(ReasonCode::NoAudio)),
            End::Dead => Settlement::Dead(reason(ReasonCode::Dead)),
            End::Told => Settlement::Told,
            End::Retry => Settlement::Retry(Duration::from_secs(20)),
            End::Released => Settlement::Released,
        };
        let settled = self.store(worker).settle(&claim, settlement).await?;
        let model = self.model.as_mut().context("a claim has a job")?;
        assert_eq!(settled, model.settle(step, number, end, attempt));
        Ok(())
    }

    /// Everything that can be seen of the job is as the model has it.
    async fn compare(&mut self) -> Result<()> {
        let store = &self.bench.other;
        let job = store.get(self.id).await?;
        let Some(model) = &mut self.model else {
            assert_eq!(job, None);
            return Ok(());
        };
        let job = job.context("the job exists")?;
        assert_eq!(job.state, model.state);
        assert_eq!(job.mp3.map(|mp3| mp3.fid), model.mp3);
        assert_eq!(job.reason.map(|reason| reason.code), model.reason);
        assert_eq!((job.progress, job.attempts), (model.progress, model.attempts));
        assert_eq!(job.finished_at.is_some(), model.state.is_final());

        assert_eq!(
            store.lapsed_uploads(9).await?.len(),
            usize::from(model.upload_lapsed && model.state == JobState::Receiving)
        );
        for (announcement, state) in [
            (Announcement::Video, JobState::Queued),
            (Announcement::Mp3, JobState::Done),
        ] {
            let owed = model.owed == Some(announcement) && model.owed_long && model.state == state;
            let claimed = store.claim_announcement(announcement).await?;
            assert_eq!(claimed.is_some(), owed, "{announcement:?}");
            model.owed_long &= !owed;
        }
        let mp3s: Vec<Fid> = model.every_attempt.iter().chain(&self.foreign_mp3s).copied().collect();
        let expected: Vec<Reference> = mp3s.iter().map(|fid| model.reference(*fid)).collect();
        assert_eq!(store.references(Bucket::Mp3s, &mp3s).await?, expected);
        let lost = model.state == JobState::Cancelled || model.state == JobState::Failed && !model.uploaded;
        let video = if lost { Reference::Lost } else { Reference::Live };
        assert_eq!(store.references(Bucket::Videos, &[self.id]).await?, [video]);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_does_what_in_any_order_the_store_does_what_the_model_does(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut story = Story {
                bench: super::open().await.unwrap(),
                id: Fid::new(),
                foreign_mp3s: [Fid::new(), Fid::new()],
                model: None,
                hands: Default::default(),
                claims: 0,
            };
            for deed in &deeds {
                story.act(deed).await.unwrap();
            }
        });
    }
}
