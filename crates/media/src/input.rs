//! From the source to decoded audio: probe, choose the stream, demux, decode.

use std::collections::VecDeque;
use std::time::Duration;

use ffmpeg_next as ff;

use crate::choice::{self, ChosenTrack};
use crate::decoder::{self, enough_memory};
use crate::decoders::Decoders;
use crate::decoding::Received;
use crate::extent::Extent;
use crate::tags::Cover;
use crate::timeline::Timeline;
use crate::watch::Watch;
use crate::{ConvertError, Note, Verdict, allowed, raw};

/// The lowest score of a probe that is believed when nothing decodes: below, libav guessed.
pub(crate) const BELIEVED_PROBE_SCORE: i32 = 26;

/// Containers of nothing but sound whose header tells how much there is, as libav calls them: where it tells nothing,
/// nothing is missing.
const TELL_LENGTHS: [&str; 4] = ["wav", "aiff", "caf", "flac"];

/// Less audio than this, from a file that also has errors, counts as nothing.
pub(crate) const ALMOST_NOTHING: Duration = Duration::from_millis(50);

/// An open source and the decoder of its chosen audio stream.
pub(crate) struct Input {
    demuxer: ff::format::context::Input,
    decoders: Decoders,
    /// The wanted streams.
    wanted: Vec<usize>,
    /// The stream of sound that would be taken alone, or the first of several.
    stream_index: usize,
    /// Which audio track that is.
    pub(crate) track: ChosenTrack,
    watch: Watch,
    start: Vec<u8>,
    seekable: bool,
    /// A picture that libav passes over.
    hidden_cover: Cover,
    /// Whether timestamps tell the sample, and seeking goes where it is told.
    has_exact_places: bool,
    timeline: Timeline,
    extent: Extent,
    /// How long the audio is by its container.
    declared: Option<Duration>,
    /// Packets that were looked at and not yet used.
    ahead: VecDeque<ff::Packet>,
    /// Whether the container has no more packets.
    is_over: bool,
    /// Whether packets of the chosen audio were met.
    has_packets: bool,
    /// Whether some of them are encrypted, or all of the file is marked so.
    is_protected: bool,
    /// Packets the decoder refused, and frames it could not make.
    pub(crate) errors: u64,
    /// How many of those it knew and cannot do.
    unsupported: u64,
    /// What was done beyond the plain case.
    pub(crate) notes: Vec<Note>,
}

impl Input {
    /// Decodes the next samples into `frame`. False at the end of the audio.
    ///
    /// What is damaged is left out, and counted. As with the `ffmpeg` command, the audio ends where the container
    /// can no longer be followed.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn next_frame(&mut self, frame: &mut ff::frame::Audio) -> Result<bool, ConvertError> {
        loop {
            let received = self.decoders.receive(frame)?;
            let faults = self.decoders.take_faults();
            self.errors += faults.errors;
            self.unsupported += faults.unsupported;
            self.is_protected |= faults.is_protected;
            match received {
                Received::Frame => return Ok(true),
                Received::End => return Ok(false),
                Received::Hungry => {
                    let packet = self.next_packet()?;
                    let Self {
                        decoders,
                        extent,
                        demuxer,
                        ..
                    } = self;
                    decoders.send(packet.as_ref(), &|clock| extent.reach(demuxer, clock))?;
                }
            }
        }
    }

    /// What is said of the track that was taken, or of several.
    pub(crate) fn of_tracks(&self) -> Vec<Note> {
        let of_several = self.decoders.notes(&self.demuxer);
        if of_several.is_empty() {
            self.track.note().into_iter().collect()
        } else {
            of_several
        }
    }

    /// Whether another attempt at the same source is possible.
    pub(crate) fn can_be_read_again(&self) -> bool {
        self.seekable
    }

    /// Whether the chosen audio, if it is one track, is called an MP3 by its container.
    pub(crate) fn is_mp3(&self) -> bool {
        self.decoders.codec() == Some(ff::codec::Id::MP3)
    }

    /// Up to `count` of the packets that come next.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn look_ahead(&mut self, count: usize) -> Result<&VecDeque<ff::Packet>, ConvertError> {
        while self.ahead.len() < count {
            let Some(packet) = self.read_packet()? else {
                break;
            };
            self.ahead.push_back(packet);
        }
        Ok(&self.ahead)
    }

    /// The next packet of the chosen audio, as it is. None at the end.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn next_packet(&mut self) -> Result<Option<ff::Packet>, ConvertError> {
        match self.ahead.pop_front() {
            Some(packet) => Ok(Some(packet)),
            None => self.read_packet(),
        }
    }

    fn read_packet(&mut self) -> Result<Option<ff::Packet>, ConvertError> {
        while !self.is_over {
            let mut packet = ff::Packet::empty();
            let read = packet.read(&mut self.demuxer);
            self.watch.check()?;
            if !self.watch.goes_on() {
                self.watch.check()?;
            }
            match read {
                Ok(()) if self.wanted.contains(&packet.stream()) => {
                    self.has_packets = true;
                    return Ok(Some(packet));
                }
                Ok(()) if self.extent.watches(packet.stream()) => {
                    if let Some(picture) = self.demuxer.stream(packet.stream()) {
                        self.extent.seen(&packet, picture.time_base());
                    }
                }
                Ok(()) => {
                    // A stream that appeared only now, as they do in broadcasts.
                    if let Some(mut stream) = self.demuxer.stream_mut(packet.stream()) {
                        raw::discard(&mut stream);
                    }
                }
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                }) => {}
                Err(error) => {
                    enough_memory(error)?;
                    if error != ff::Error::Eof {
                        self.errors += 1;
                        tracing::debug!(%error, "the container ends early");
                    }
                    self.is_over = true;
                }
            }
        }
        Ok(None)
    }

    /// Whether the file announces this stream and holds nothing of it, and that is all that is wrong: it holds
    /// something of another one, or its index has nothing.
    fn is_empty(&self, stream: &ff::format::stream::Stream<'_>) -> bool {
        let is_announced_only = !self.has_packets && self.errors == 0 && raw::index_length(stream) == 0;
        let has_others = || self.demuxer.streams().any(|other| choice::has_packets(&other));
        let states_none = || TELL_LENGTHS.contains(&self.demuxer.format().name()) && self.declared.is_none();
        is_announced_only && (allowed::is_mov(&self.start) || states_none() || has_others())
    }

    /// What it means that the file gave only `decoded` of audio: None when that is usable.
    pub(crate) fn verdict_on(&self, decoded: Duration) -> Option<ConvertError> {
        let usable = if self.errors == 0 {
            !decoded.is_zero()
        } else {
            decoded >= ALMOST_NOTHING
        };
        if usable {
            return None;
        }
        let like_media = allowed::begins_like_media(&self.start);
        let is_media = like_media || self.demuxer.probe_score() >= BELIEVED_PROBE_SCORE;
        // A decoder also takes much of what is damaged for a kind that it does not know.
        let is_unsupported = is_media && self.unsupported > 0 && self.unsupported == self.errors;
        let stream = self.demuxer.stream(self.stream_index);
        Some(if !self.seekable && allowed::is_mov(&self.start) {
            ConvertError::NeedsSeeking
        } else if self.is_protected {
            Verdict::Protected.into()
        } else if let Some(stream) = stream.as_ref().filter(|_| is_unsupported) {
            let kind = decoder::kind_of(stream);
            Verdict::UnsupportedAudio { kind }.into()
        } else if stream.is_some_and(|stream| self.is_empty(&stream)) {
            Verdict::EmptyAudio.into()
        } else if is_media {
            Verdict::Damaged.into()
        } else {
            Verdict::NotMedia.into()
        })
    }
}

pub(crate) mod open;
mod place;
mod tag;
