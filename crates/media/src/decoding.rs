//! The decoder of one stream: packets in, frames out, what is damaged left out and counted.

use ffmpeg_next as ff;

use crate::decoder::{enough_memory, is_unsupported};
use crate::{ConvertError, raw};

/// How many errors in a row a decoder may report from one packet.
const ERRORS_PER_PACKET: u32 = 64;

/// What a decoder answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The frame holds the next samples.
    Frame,
    /// It wants the next packet first.
    Hungry,
    /// There is nothing more to come.
    End,
}

/// What was wrong with what was decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Packets that were refused, frames that could not be made, and what came too late.
    pub(crate) errors: u64,
    /// Some packets are encrypted.
    pub(crate) is_protected: bool,
    /// How many of those errors say that the decoder knows what this is, and cannot do it.
    pub(crate) unsupported: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, others: Self) {
        self.errors += others.errors;
        self.is_protected |= others.is_protected;
        self.unsupported += others.unsupported;
    }
}

/// A decoder and how it is doing.
pub(crate) struct Decoding {
    decoder: ff::decoder::Audio,
    is_draining: bool,
    errors_in_row: u32,
    faults: Faults,
}

impl Decoding {
    pub(crate) fn new(decoder: ff::decoder::Audio) -> Self {
        Self {
            decoder,
            is_draining: false,
            errors_in_row: 0,
            faults: Faults::default(),
        }
    }

    /// Decodes the next samples into `frame`.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn receive(&mut self, frame: &mut ff::frame::Audio) -> Result<Received, ConvertError> {
        loop {
            match self.decoder.receive_frame(frame) {
                Ok(()) if frame.samples() > 0 && frame.channels() > 0 => return Ok(Received::Frame),
                Ok(()) => {}
                Err(ff::Error::Eof) => return Ok(Received::End),
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                }) if !self.is_draining => {
                    self.errors_in_row = 0;
                    return Ok(Received::Hungry);
                }
                Err(error) => {
                    self.failed(error)?;
                    self.errors_in_row += 1;
                    if self.errors_in_row > ERRORS_PER_PACKET {
                        return Ok(Received::End);
                    }
                }
            }
        }
    }

    /// Gives the decoder the next packet, or tells it that there are no more.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn send(&mut self, packet: Option<&ff::Packet>) -> Result<(), ConvertError> {
        let Some(packet) = packet else {
            self.is_draining = true;
            // A decoder that refuses to drain has nothing left: its next answer is the end or an error.
            if self.decoder.send_eof().is_err() {
                self.faults.errors += 1;
            }
            return Ok(());
        };
        if raw::is_encrypted(packet) {
            // A decoder would make noise of it.
            self.faults.is_protected = true;
            self.faults.errors += 1;
            return Ok(());
        }
        self.decoder.send_packet(packet).or_else(|error| self.failed(error))
    }

    fn failed(&mut self, error: ff::Error) -> Result<(), ConvertError> {
        enough_memory(error)?;
        self.faults.unsupported += u64::from(is_unsupported(error));
        self.faults.errors += 1;
        Ok(())
    }

    /// How the sound is coded.
    pub(crate) fn codec(&self) -> ff::codec::Id {
        self.decoder.id()
    }

    /// What was wrong since this was last asked.
    pub(crate) fn take_faults(&mut self) -> Faults {
        std::mem::take(&mut self.faults)
    }

    /// Forgets what came before: the next packet comes from another place.
    pub(crate) fn jump(&mut self) {
        self.decoder.flush();
        self.is_draining = false;
        self.errors_in_row = 0;
    }
}
