//! The MP3 being written: blocks of samples in, frames to the sink, the head frame at the end.

use std::io::Write;
use std::time::Duration;

use crate::encoder::{Encoder, Mp3Format};
use crate::frame_log::FrameLog;
use crate::head::Head;
use crate::mixer::Block;
use crate::{ConvertError, Converted, Limits, Verdict};

/// How much MP3 is collected before it is written.
const WRITE_BYTES: usize = 32 * 1024;

/// The MP3 being written.
pub(crate) struct Mp3<'a> {
    encoder: Encoder,
    head: Head,
    log: FrameLog,
    format: Mp3Format,
    limits: Limits,
    samples: u64,
    /// Encoded and not yet written.
    ready: Vec<u8>,
    sink: &'a mut dyn Write,
}

impl<'a> Mp3<'a> {
    /// Begins an MP3 in `sink` with the place of its head frame.
    ///
    /// # Errors
    /// The sink does not take it, or LAME does not take the format.
    pub(crate) fn begin(format: Mp3Format, limits: Limits, sink: &'a mut dyn Write) -> Result<Self, ConvertError> {
        let mp3 = Self {
            encoder: Encoder::new(&format)?,
            head: Head::new(&format),
            log: FrameLog::default(),
            format,
            limits,
            samples: 0,
            ready: Vec::new(),
            sink,
        };
        mp3.sink
            .write_all(mp3.head.placeholder())
            .map_err(ConvertError::Write)?;
        Ok(mp3)
    }

    /// How much audio has been encoded.
    pub(crate) fn position(&self) -> Duration {
        let rate_hz = u64::from(self.format.sample_rate_hz);
        let nanoseconds = self.samples % rate_hz * 1_000_000_000 / rate_hz;
        Duration::from_secs(self.samples / rate_hz) + Duration::from_nanos(nanoseconds)
    }

    /// Encodes a block.
    ///
    /// # Errors
    /// It becomes too long or too large; LAME fails, or the sink does not take it.
    pub(crate) fn push(&mut self, block: Block<'_>) -> Result<(), ConvertError> {
        self.samples += block.left.len() as u64;
        if self.position() > self.limits.duration {
            return Err(Verdict::TooLong {
                limit: self.limits.duration,
            }
            .into());
        }
        self.encoder.encode(block, &mut self.ready)?;
        if self.ready.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
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
        self.head.placeholder().len() as u64 + self.log.bytes
    }

    /// Ends the MP3. What only the input knows is left at nothing.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub(crate) fn finish(mut self) -> Result<Converted, ConvertError> {
        self.encoder.finish(&mut self.ready)?;
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
            head_at: 0,
            bytes_read: 0,
            source_bytes: None,
            errors: 0,
        })
    }
}
