//! Where in a file's time its sound is, and going to a place in it.

use std::time::Duration;

use ffmpeg_next as ff;

use super::Input;
use crate::clock::{Clock, Moment};
use crate::{ConvertError, Settings, cut, raw};

/// How long before the start of a part decoding begins: what decoders remember of earlier packets is less.
const LEAD_IN: Duration = Duration::from_secs(1);

/// A start before this is reached by decoding.
const WORTH_SKIPPING: Duration = Duration::from_secs(4);

impl Input {
    /// Goes on shortly before `target`, where the container can tell exactly where that is: the frames that follow are
    /// from the position in the audio that is returned, and the next one is in `first`, which is empty at the end of
    /// the audio. Elsewhere it changes nothing, and returns None.
    ///
    /// To be called with the first frame in `first`, which is at `position`.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn skip_to(
        &mut self,
        target: Duration,
        position: Duration,
        first: &mut ff::frame::Audio,
    ) -> Result<Option<Duration>, ConvertError> {
        let known = self
            .clock()
            .filter(|_| self.has_exact_places && target >= position.saturating_add(WORTH_SKIPPING));
        let Some(clock) = known else {
            return Ok(None);
        };
        let lead_in = clock.moment(target - LEAD_IN).timestamp(self.time_base());
        let wanted = lead_in.unwrap_or(i64::MAX);
        let went = raw::seek(&mut self.demuxer, self.stream_index, wanted);
        self.watch.check()?;
        if let Err(error) = went {
            tracing::debug!(%error, "the source cannot be skipped");
            return Ok(None);
        }
        self.decoders.jump();
        self.ahead.clear();
        self.is_over = false;
        if !self.next_frame(first)? {
            // Behind the end of the audio.
            return Ok(Some(target));
        }
        self.timeline.jumped();
        let position = self.moment(first.pts()).map(|moment| clock.position(moment));
        Ok(Some(position.unwrap_or(target - LEAD_IN)))
    }

    /// What positions mean in this file, once the first sound is known.
    pub(crate) const fn clock(&self) -> Option<Clock> {
        self.timeline.clock()
    }

    /// The first sound begins with this timestamp. Gives its position: zero unless it begins after the picture.
    pub(crate) fn begin_at(&mut self, first: Option<Moment>, settings: &Settings) -> Duration {
        let Self {
            timeline,
            extent,
            demuxer,
            declared,
            watch,
            ..
        } = self;
        let late = first.map_or(Duration::ZERO, |first| {
            let others = extent.first_of_others(demuxer);
            timeline.begin(first, others, |clock| extent.reach(demuxer, clock))
        });
        if let (Some(clock), false) = (timeline.clock(), late.is_zero()) {
            // What is declared may be the length of the sound alone.
            let whole = declared.map(|alone| alone.max(extent.end(demuxer, clock).min(alone + late)));
            watch.update(|progress| progress.duration = cut::playing_time(settings, whole));
        }
        if let Some(picture) = extent.done_with(demuxer)
            && let Some(mut picture) = demuxer.stream_mut(picture)
        {
            raw::discard(&mut picture);
        }
        late
    }

    /// Where on the clock the sound of that moment begins, if the source has none before it from `position` on.
    pub(crate) fn gap_before(&mut self, sound: Option<Moment>, position: Duration) -> Option<Duration> {
        let Self {
            timeline,
            extent,
            demuxer,
            ..
        } = self;
        let sound = sound.filter(|_| extent.has_timestamps())?;
        timeline.gap_before(sound, position, |clock| extent.reach(demuxer, clock))
    }

    /// The moment of a timestamp of the chosen audio.
    pub(crate) fn moment(&self, timestamp: Option<i64>) -> Option<Moment> {
        Moment::of(timestamp?, self.time_base())
    }

    fn time_base(&self) -> ff::Rational {
        let stream = self.demuxer.stream(self.stream_index);
        stream.map_or(ff::Rational(0, 1), |stream| stream.time_base())
    }
}
