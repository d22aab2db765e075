//! The MP3 being written: blocks of samples in, frames to the sink, the head frame at the end.

use std::io::Write;
use std::mem;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::encoder::Mp3Format;
use crate::frame_log::FrameLog;
use crate::head::Head;
use crate::join::Joiner;
use crate::mixer::Block;
use crate::schedule::Schedule;
use crate::segments::{Chunk, Encoded, Event, Segments};
use crate::watch::Watch;
use crate::{ConvertError, Converted, Limits, Settings, Verdict};

/// The MP3 being written.
pub(crate) struct Mp3<'a> {
    segments: Segments,
    /// Samples that are not yet a whole chunk.
    chunk: Chunk,
    joiner: Joiner,
    head: Head,
    log: FrameLog,
    format: Mp3Format,
    limits: Limits,
    watch: Watch,
    samples: u64,
    /// Encoded and not yet written.
    ready: Vec<u8>,
    /// Written before the head frame.
    tag_bytes: u64,
    sink: &'a mut dyn Write,
}

impl<'a> Mp3<'a> {
    /// Begins an MP3 in `sink` with a tag, which may be empty, and the place of its head frame. It is encoded by other threads; `watch` learns how far they
    /// are, and is asked whether to go on whenever they are waited for.
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
        sink.write_all(tag).map_err(ConvertError::Write)?;
        let mut mp3 = Self::with_schedule(format, schedule, settings, watch, sink)?;
        mp3.tag_bytes = tag.len() as u64;
        Ok(mp3)
    }

    fn with_schedule(
        format: Mp3Format,
        schedule: Schedule,
        settings: &Settings,
        watch: &Watch,
        sink: &'a mut dyn Write,
    ) -> Result<Self, ConvertError> {
        let threads = settings.threads.or_else(|| available_parallelism().ok());
        let segments = Segments::new(format, schedule, threads.map_or(1, NonZeroUsize::get));
        let mp3 = Self {
            segments,
            chunk: Chunk::default(),
            joiner: Joiner::default(),
            head: Head::new(&format),
            log: FrameLog::default(),
            format,
            limits: settings.limits,
            watch: watch.clone(),
            samples: 0,
            ready: Vec::new(),
            tag_bytes: 0,
            sink,
        };
        mp3.sink
            .write_all(mp3.head.placeholder())
            .map_err(ConvertError::Write)?;
        Ok(mp3)
    }

    /// How much audio has been pushed.
    pub(crate) fn position(&self) -> Duration {
        self.playing_time(self.samples)
    }

    fn playing_time(&self, samples: u64) -> Duration {
        let rate_hz = u64::from(self.format.sample_rate_hz);
        let nanoseconds = samples % rate_hz * 1_000_000_000 / rate_hz;
        Duration::from_secs(samples / rate_hz) + Duration::from_nanos(nanoseconds)
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
            self.ready.extend_from_slice(&encoded.mp3);
        } else {
            self.joiner
                .push(&encoded.mp3, encoded.warm_up_frames, &mut self.ready)
                .map_err(|error| ConvertError::internal("joining segments", error))?;
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), ConvertError> {
        self.log
            .push(&self.ready)
            .map_err(|error| ConvertError::internal("following the frames", error))?;
        if self.size_bytes() > self.limits.output_bytes {
            return Err(Verdict::OutputTooLarge {
                limit_bytes: self.limits.output_bytes,
            }
            .into());
        }
        self.sink.write_all(&self.ready).map_err(ConvertError::Write)?;
        self.ready.clear();
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.tag_bytes + self.head.placeholder().len() as u64 + self.log.bytes
    }

    /// Ends the MP3. What only the input knows is left at nothing.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub(crate) fn finish(mut self) -> Result<Converted, ConvertError> {
        let rest = mem::take(&mut self.chunk);
        self.segments.finish(rest)?;
        while !matches!(self.wait()?, Event::End) {}
        self.joiner.finish(&mut self.ready);
        self.write()?;
        self.sink.flush().map_err(ConvertError::Write)?;
        if !self.log.is_whole() {
            return Err(ConvertError::Internal {
                operation: "ending on a whole frame",
                source: None,
            });
        }
        Ok(Converted {
            size_bytes: self.size_bytes(),
            duration: self.position(),
            samples: self.samples,
            sample_rate_hz: self.format.sample_rate_hz,
            channels: if self.format.mono { 1 } else { 2 },
            head: self.head.finish(&self.format, &self.log, self.samples),
            head_at: self.tag_bytes,
            bytes_read: 0,
            source_bytes: None,
            errors: 0,
        })
    }
}

#[cfg(test)]
mod tests;
