//! What a job store does, as a model of a few lines: no times, no fences, one job.

use domain::{Announcement, Fid, JobState, ReasonCode, Reference, Step, VerdictKind};

/// How a claim ends; the first three are the conversion's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Converted,
    Failed,
    Dead,
    Told,
    Retry,
    Released,
}

/// One step of the model's job. Claims are numbered as they are given.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// Whether it is due; false while a retry waits. None when there is nothing to do.
    pub(super) due: Option<bool>,
    pub(super) holder: Option<usize>,
    /// The holder began to work.
    pub(super) renewed: bool,
    pub(super) lapsed: bool,
    pub(super) failures: u32,
    pub(super) lapses: u32,
    pub(super) settled: Option<(usize, End)>,
}

impl Schedule {
    pub(super) fn owe(&mut self) {
        *self = Self {
            due: Some(true),
            settled: self.settled,
            ..Self::default()
        };
    }

    pub(super) fn finish(&mut self) {
        (self.due, self.holder, self.lapsed) = (None, None, false);
    }

    pub(super) fn claim(&mut self, number: usize) -> bool {
        let free = self.holder.is_none() || self.lapsed;
        if self.due != Some(true) || !free {
            return false;
        }
        if self.holder.replace(number).is_some() && self.renewed {
            self.failures += 1;
            self.lapses += 1;
        }
        (self.renewed, self.lapsed) = (false, false);
        true
    }
}

/// The model's job.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) state: JobState,
    pub(super) mp3: Option<Fid>,
    pub(super) reason: Option<ReasonCode>,
    pub(super) progress: f32,
    pub(super) attempts: u32,
    pub(super) uploaded: bool,
    pub(super) upload_lapsed: bool,
    pub(super) owed: Option<Announcement>,
    /// For so long that anybody may announce it.
    pub(super) owed_long: bool,
    pub(super) attempt: Option<Fid>,
    pub(super) every_attempt: Vec<Fid>,
    pub(super) convert: Schedule,
    pub(super) tell: Schedule,
}

impl Model {
    pub(super) fn new(state: JobState) -> Self {
        Self {
            state,
            mp3: None,
            reason: None,
            progress: 0.0,
            attempts: 0,
            uploaded: false,
            upload_lapsed: false,
            owed: None,
            owed_long: false,
            attempt: None,
            every_attempt: Vec::new(),
            convert: Schedule::default(),
            tell: Schedule::default(),
        }
    }

    pub(super) fn schedule(&mut self, step: Step) -> &mut Schedule {
        match step {
            Step::Convert => &mut self.convert,
            Step::Tell => &mut self.tell,
        }
    }

    pub(super) fn announce(&mut self, announcement: Option<Announcement>) {
        (self.owed, self.owed_long) = (announcement, false);
    }

    pub(super) fn queue(&mut self) {
        (self.state, self.uploaded) = (JobState::Queued, true);
        self.convert.owe();
        self.announce(Some(Announcement::Video));
    }

    pub(super) fn end(&mut self, state: JobState, mp3: Option<Fid>, code: Option<ReasonCode>) {
        (self.state, self.mp3, self.reason) = (state, mp3, code);
        self.convert.finish();
        match VerdictKind::of(state) {
            Some(_) => self.tell.owe(),
            None => self.tell.finish(),
        }
        if mp3.is_some() {
            self.progress = 1.0;
        }
        self.announce(None);
    }

    pub(super) fn adopt(&mut self, mp3: Option<Fid>) {
        match mp3 {
            Some(_) if self.mp3.is_none() && self.state != JobState::Cancelled => {
                self.end(JobState::Done, mp3, None);
                self.uploaded = true;
            }
            None if self.owed == Some(Announcement::Video) => self.announce(None),
            Some(_) if self.mp3 == mp3 && self.owed == Some(Announcement::Mp3) => self.announce(None),
            _ => {}
        }
    }

    pub(super) fn settle(&mut self, step: Step, number: usize, end: End, attempt: Option<Fid>) -> bool {
        let schedule = self.schedule(step);
        if schedule.holder != Some(number) {
            return schedule.settled == Some((number, end));
        }
        (schedule.holder, schedule.lapsed, schedule.settled) = (None, false, Some((number, end)));
        schedule.lapses = 0;
        match end {
            End::Converted => {
                self.end(JobState::Done, attempt, None);
                self.announce(Some(Announcement::Mp3));
            }
            End::Failed => self.end(JobState::Failed, None, Some(ReasonCode::NoAudio)),
            End::Dead => self.end(JobState::Dead, None, Some(ReasonCode::Dead)),
            End::Told => schedule.due = None,
            End::Retry => (schedule.due, schedule.failures) = (Some(false), schedule.failures + 1),
            End::Released => {}
        }
        if step == Step::Convert && matches!(end, End::Retry | End::Released) {
            (self.state, self.progress) = (JobState::Queued, 0.0);
        }
        true
    }

    pub(super) fn pass(&mut self) {
        for schedule in [&mut self.convert, &mut self.tell] {
            schedule.due = schedule.due.map(|_| true);
            schedule.lapsed = schedule.holder.is_some();
        }
        self.upload_lapsed = self.state == JobState::Receiving;
        self.owed_long = self.owed.is_some();
    }

    pub(super) fn reference(&self, fid: Fid) -> Reference {
        let current = self.state == JobState::Converting && self.attempt == Some(fid);
        if current || self.mp3 == Some(fid) {
            Reference::Live
        } else if self.every_attempt.contains(&fid) {
            Reference::Lost
        } else {
            Reference::Unknown
        }
    }
}
