//! The MP3 being written: blocks of samples in, frames to the sink, the head frame at the end.

use std::io::Write;
use std::mem;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::choice::ChosenTrack;
use crate::encoder::Mp3Format;
use crate::head::Head;
use crate::join::Joiner;
use crate::mixer::Block;
use crate::output::{self, Output};
use crate::schedule::Schedule;
use crate::segments::{Chunk, Encoded, Event, Segments};
use crate::watch::Watch;
use crate::{ConvertError, Converted, Limits, Settings, Verdict};

/// More would find no samples to encode, see [`most_chunks`](crate::schedule::most_chunks).
pub(crate) const MOST_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The MP3 being written.
pub(crate) struct Mp3<'a> {
    segments: Segments,
    /// Samples that are not yet a whole chunk.
    chunk: Chunk,
    joiner: Joiner,
    head: Head,
    format: Mp3Format,
    limits: Limits,
    watch: Watch,
    samples: u64,
    /// Joined, and being written.
    ready: Vec<u8>,
    output: Output<'a>,
}

impl<'a> Mp3<'a> {
    /// Begins an MP3 in `sink` with a tag, which may be empty, and the place of its head frame. It is encoded by other
    /// threads; `watch` learns how far they are, and is asked whether to go on whenever they are waited for.
    ///
    /// # Errors
    /// The sink does not take it.
    pub(crate) fn begin(
        format: Mp3Format,
        tag: &[u8],
        settings: &Settings,
        watch: &Watch,
        sink: &'a mut dyn Write,
    ) -> Result<Self, ConvertError> {
        let schedule = Schedule::new(&format, watch.progress().duration);
        Self::with_schedule(format, schedule, tag, settings, watch, sink)
    }

    fn with_schedule(
        format: Mp3Format,
        schedule: Schedule,
        tag: &[u8],
        settings: &Settings,
        watch: &Watch,
        sink: &'a mut dyn Write,
    ) -> Result<Self, ConvertError> {
        let threads = settings.threads.or_else(|| available_parallelism().ok());
        let threads = threads.unwrap_or(NonZeroUsize::MIN).min(MOST_THREADS).get();
        let segments = Segments::new(format, schedule, threads);
        let head = Head::new(&format);
        Ok(Self {
            output: Output::begin(tag, head.placeholder(), settings.limits, sink)?,
            segments,
            chunk: Chunk::default(),
            joiner: Joiner::default(),
            head,
            format,
            limits: settings.limits,
            watch: watch.clone(),
            samples: 0,
            ready: Vec::new(),
        })
    }

    /// How much audio has been pushed.
    pub(crate) fn position(&self) -> Duration {
        self.playing_time(self.samples)
    }

    pub(crate) const fn is_mono(&self) -> bool {
        self.format.mono
    }

    fn playing_time(&self, samples: u64) -> Duration {
        output::duration_of(samples, self.format.sample_rate_hz)
    }

    /// Takes a block to encode. Waits while the encoders have enough to do.
    ///
    /// # Errors
    /// It becomes too long or too large; LAME fails, the sink does not take it, or a cancel.
    pub(crate) fn push(&mut self, mut block: Block<'_>) -> Result<(), ConvertError> {
        self.samples += block.left.len() as u64;
        if self.position() > self.limits.duration {
            return Err(Verdict::TooLong {
                limit: self.limits.duration,
            }
            .into());
        }
        loop {
            let missing = self.segments.chunk_samples() - self.chunk.left.len();
            let (first, rest) = block.split_at(missing);
            self.chunk.left.extend_from_slice(first.left);
            self.chunk.right.extend_from_slice(first.right.unwrap_or_default());
            if first.left.len() < missing {
                return Ok(());
            }
            while !matches!(self.wait()?, Event::Room) {}
            let next = self.segments.spare();
            self.segments.push(mem::replace(&mut self.chunk, next))?;
            block = rest;
        }
    }

    /// Waits a little for the encoders, and writes what they have ready.
    fn wait(&mut self) -> Result<Event, ConvertError> {
        let event = self.segments.wait()?;
        let position = self.playing_time(self.segments.encoded_samples());
        self.watch.update(|progress| progress.position = position);
        if let Event::Encoded(encoded) = &event {
            self.join(encoded)?;
        }
        // Where there is room, reading goes on at once, and asks the same.
        if !matches!(event, Event::Room) && !self.watch.goes_on() {
            self.watch.check()?;
        }
        Ok(event)
    }

    fn join(&mut self, encoded: &Encoded) -> Result<(), ConvertError> {
        if encoded.is_alone {
            return self.output.write(&encoded.mp3);
        }
        self.ready.clear();
        self.joiner
            .push(&encoded.mp3, encoded.warm_up_frames, &mut self.ready)
            .map_err(|error| ConvertError::internal("joining segments", error))?;
        self.output.write(&self.ready)
    }

    /// Ends the MP3. What only the input knows is left at nothing.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub(crate) fn finish(mut self) -> Result<Converted, ConvertError> {
        let rest = mem::take(&mut self.chunk);
        self.segments.finish(rest)?;
        while !matches!(self.wait()?, Event::End) {}
        self.ready.clear();
        self.joiner.finish(&mut self.ready);
        self.output.write(&self.ready)?;
        let log = self.output.finish()?;
        Ok(Converted {
            size_bytes: self.output.size_bytes(),
            duration: self.position(),
            samples: self.samples,
            sample_rate_hz: self.format.sample_rate_hz,
            channels: if self.format.mono { 1 } else { 2 },
            head: self.head.finish(&self.format, &log, self.samples),
            head_at: self.output.head_at(),
            bytes_read: 0,
            source_bytes: None,
            errors: 0,
            track: ChosenTrack::ONLY,
            notes: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
