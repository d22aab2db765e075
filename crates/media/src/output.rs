//! What goes to the sink: a tag, the place of the head frame, then frames, counted as they pass.

use std::io::Write;
use std::mem;
use std::time::Duration;

use crate::frame_log::FrameLog;
use crate::{ConvertError, Limits, Verdict};

/// An MP3 on its way to the sink.
pub(crate) struct Output<'a> {
    log: FrameLog,
    tag_bytes: u64,
    head_bytes: u64,
    frame_bytes: u64,
    limits: Limits,
    sink: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    /// Begins with a tag, which may be empty, and what keeps the head frame's place.
    ///
    /// # Errors
    /// The sink does not take it.
    pub(crate) fn begin(
        tag: &[u8],
        placeholder: &[u8],
        limits: Limits,
        sink: &'a mut dyn Write,
    ) -> Result<Self, ConvertError> {
        sink.write_all(tag).map_err(ConvertError::Write)?;
        sink.write_all(placeholder).map_err(ConvertError::Write)?;
        Ok(Self {
            log: FrameLog::default(),
            tag_bytes: tag.len() as u64,
            head_bytes: placeholder.len() as u64,
            frame_bytes: 0,
            limits,
            sink,
        })
    }

    /// Writes frames, or the next piece of them.
    ///
    /// # Errors
    /// The MP3 becomes too large, the sink does not take it, or these are no frames.
    pub(crate) fn write(&mut self, mp3: &[u8]) -> Result<(), ConvertError> {
        self.log
            .push(mp3)
            .map_err(|error| ConvertError::internal("following the frames", error))?;
        self.frame_bytes += mp3.len() as u64;
        if self.size_bytes() > self.limits.output_bytes {
            return Err(Verdict::OutputTooLarge {
                limit_bytes: self.limits.output_bytes,
            }
            .into());
        }
        self.sink.write_all(mp3).map_err(ConvertError::Write)
    }

    /// Where the head frame belongs.
    pub(crate) fn head_at(&self) -> u64 {
        self.tag_bytes
    }

    /// The length so far, tag and head included.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.tag_bytes + self.head_bytes + self.frame_bytes
    }

    /// Ends the MP3, and tells what is known of its frames.
    ///
    /// # Errors
    /// The sink does not take it, or the last frame is not whole.
    pub(crate) fn finish(&mut self) -> Result<FrameLog, ConvertError> {
        self.sink.flush().map_err(ConvertError::Write)?;
        if !self.log.is_whole() {
            return Err(ConvertError::Internal {
                operation: "ending on a whole frame",
                source: None,
            });
        }
        Ok(mem::take(&mut self.log))
    }
}

/// How long so many samples play.
pub(crate) fn duration_of(samples: u64, rate_hz: u32) -> Duration {
    let rate_hz = u64::from(rate_hz);
    let nanoseconds = samples % rate_hz * 1_000_000_000 / rate_hz;
    Duration::from_secs(samples / rate_hz) + Duration::from_nanos(nanoseconds)
}
