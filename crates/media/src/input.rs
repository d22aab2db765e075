//! From the source to decoded audio: probe, choose the stream, demux, decode.

use std::collections::VecDeque;
use std::time::Duration;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::StreamIo;

use crate::boxes::Layout;
use crate::choice::{self, ChosenTrack, is_audio, language_of, verdict_without_audio};
use crate::decoder::{self, enough_memory, is_unsupported};
use crate::extent::Extent;
use crate::planner::Planner;
use crate::reader::Reader;
use crate::tags::{Cover, Tags, look_for_webp};
use crate::timeline::Timeline;
use crate::watch::Watch;
use crate::{ConvertError, Note, Settings, Source, Verdict, allowed, cut, late, length, raw, scrambling, width};

/// libav's buffer. Large ones read the video between the audio of a Flash file along with it.
const BUFFER_BYTES: usize = 16 * 1024;

/// How much of the file's start is kept, to tell afterwards what it is.
const START_BYTES: usize = 64;

/// The lowest score of a probe that is believed when nothing decodes: below, libav guessed.
pub(crate) const BELIEVED_PROBE_SCORE: i32 = 26;

/// How many errors in a row a decoder may report from one packet.
const ERRORS_PER_PACKET: u32 = 64;

/// Less audio than this, from a file that also has errors, counts as nothing.
pub(crate) const ALMOST_NOTHING: Duration = Duration::from_millis(50);

/// What libav is told. The tests below prove that each list is in force.
pub(crate) const OPTIONS: [(&str, &str); 4] = [
    ("format_whitelist", allowed::FORMATS),
    ("protocol_whitelist", allowed::PROTOCOLS),
    ("codec_whitelist", allowed::CODECS),
    // The playing time of MPEG streams is a guess from the timestamps at both ends, which jump in recordings of broadcasts;
    // and up to 16 MB are read for it.
    ("skip_estimate_duration_from_pts", "1"),
];

/// Has the fragments of an MP4 read one by one, as in a stream, instead of all of their indexes first.
const ONE_BY_ONE: (&str, &str) = ("fflags", "+ignidx");

/// How libav calls the container that describes its streams, not itself.
const OGG: &str = "ogg";

/// How libav calls the containers that mark scrambled packets.
const TRANSPORT_STREAM: &str = "mpegts";
const PROGRAM_STREAM: &str = "mpeg";

/// How libav calls the container that tells of its protection among its tags, and what it calls those.
const ASF: &str = "asf";
const ASF_PROTECTION: [&[u8]; 2] = [b"ASF_Protection_Type", b"encryption"];

/// How much is looked at for such marks.
const SCRAMBLED_START_BYTES: usize = 512 * 1024;

/// An open source and the decoder of its chosen audio stream.
pub(crate) struct Input {
    demuxer: ff::format::context::Input,
    decoder: ff::decoder::Audio,
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
    draining: bool,
    /// Whether packets of the chosen audio were met.
    has_packets: bool,
    /// Whether some of them are encrypted, or all of the file is marked so.
    is_protected: bool,
    /// Whether the decoder said that it knows what this is and cannot do it.
    is_unsupported: bool,
    /// Packets the decoder refused, and frames it could not make.
    pub(crate) errors: u64,
    /// What was done beyond the plain case.
    pub(crate) notes: Vec<Note>,
}

impl Input {
    /// Probes the source, chooses the audio stream, and opens its decoder.
    ///
    /// # Errors
    /// Every verdict but those on length; a source that cannot be read; a cancel.
    pub(crate) fn open(source: Source, settings: &Settings, watch: &Watch) -> Result<Self, ConvertError> {
        // What libav would print holds text from the file, and belongs to nobody.
        ff::log::set_level(ff::log::Level::Quiet);
        let mut reader = Reader::new(source, watch.clone()).map_err(ConvertError::Read)?;
        let why = |error| watch.check().err().unwrap_or(ConvertError::Read(error));
        let start = reader.look(0, START_BYTES).map_err(why)?;
        if start.is_empty() {
            return Err(Verdict::Empty.into());
        }
        let length = reader.length_bytes();
        let seekable = length.is_some();
        let layout = match length {
            Some(length) if allowed::is_mov(&start) => Layout::of(&mut reader, length).map_err(why)?,
            _ => Layout::Unclear,
        };
        let hidden_cover = match length {
            Some(_) => look_for_webp(&mut |at, count| reader.look(at, count)).map_err(why)?,
            None => Cover::default(),
        };
        let mut options = OPTIONS.to_vec();
        options.extend((layout == Layout::Fragmented).then_some(ONE_BY_ONE));
        let opened = open_demuxer(reader.clone(), settings.extension(), &options);
        let planner = Planner { layout, length };
        let opened = opened.and_then(|mut demuxer| {
            reader.follow(planner.of(&demuxer, is_audio));
            // What cannot be read is told by the watch.
            width::correct(&mut demuxer, &mut reader).map_err(|_| ff::Error::InvalidData)?;
            if !planner.is_known(&demuxer) {
                raw::probe_streams(&mut demuxer)?;
            }
            Ok(demuxer)
        });
        watch.check()?;
        let mut demuxer = match opened {
            Ok(demuxer) => demuxer,
            Err(error) => {
                enough_memory(error)?;
                tracing::debug!(%error, "the source does not open");
                return Err(match allowed::begins_like_media(&start) {
                    _ if allowed::is_protected(&start) => Verdict::Protected.into(),
                    true if !seekable && allowed::is_mov(&start) => ConvertError::NeedsSeeking,
                    true => Verdict::Damaged.into(),
                    false => Verdict::NotMedia.into(),
                });
            }
        };
        let is_protected = allowed::is_protected(&start) || is_protected(&demuxer, &mut reader).map_err(why)?;
        let mut ahead = VecDeque::new();
        if !demuxer.streams().any(|stream| is_audio(&stream)) && raw::has_streams_to_come(&demuxer) {
            ahead = late::find_sound(&mut demuxer, length, watch)?;
        }
        let limits = &settings.limits;
        let tracks = u32::try_from(demuxer.streams().filter(is_audio).count()).unwrap_or(u32::MAX);
        if tracks > limits.streams {
            return Err(Verdict::TooManyStreams {
                streams: tracks,
                limit: limits.streams,
            }
            .into());
        }
        if tracks == 0 && is_protected {
            return Err(Verdict::Protected.into());
        }
        if tracks == 0 {
            return Err(verdict_without_audio(&demuxer, &start).into());
        }
        let (track, stream_index, decoder) = choice::choose(&demuxer, settings.track.as_ref())?;
        ahead.retain(|packet: &ff::Packet| packet.stream() == stream_index);
        let extent = Extent::of(&demuxer, stream_index);
        for mut stream in demuxer.streams_mut() {
            if stream.index() != stream_index && !extent.watches(stream.index()) {
                raw::discard(&mut stream);
            }
        }
        let Some(stream) = demuxer.stream(stream_index) else {
            return Err(ConvertError::Internal {
                operation: "choosing the audio stream",
                source: None,
            });
        };
        let channels = raw::channels(&stream);
        if channels > limits.channels {
            return Err(Verdict::TooManyChannels {
                channels,
                limit: limits.channels,
            }
            .into());
        }
        if tracks > 1 {
            reader.follow(planner.of(&demuxer, |other| other.index() == stream_index));
        }
        reader.opened();
        // A length that is not to be believed refuses nothing: what is decoded will tell.
        let declared = length::stated(&demuxer, &stream)
            .filter(|stated| *stated <= limits.duration || length::is_plausible(*stated, length));
        let duration = cut::playing_time(settings, declared);
        if declared.is_some() && duration.is_some_and(|duration| duration > limits.duration) {
            return Err(Verdict::TooLong { limit: limits.duration }.into());
        }
        watch.update(|progress| progress.duration = duration);
        let has_exact_places = planner.has_exact_places(&demuxer, &stream);
        tracing::debug!(
            container = demuxer.format().name(),
            codec = ?stream.parameters().id(),
            channels,
            streams = demuxer.nb_streams(),
            "source opened"
        );
        Ok(Self {
            demuxer,
            decoder,
            stream_index,
            track,
            watch: watch.clone(),
            start,
            seekable,
            hidden_cover,
            has_exact_places,
            timeline: Timeline::default(),
            extent,
            declared,
            has_packets: !ahead.is_empty(),
            ahead,
            is_over: false,
            draining: false,
            is_protected,
            is_unsupported: false,
            errors: 0,
            notes: Vec::new(),
        })
    }

    /// The tag for the MP3: what the source says of itself, with this title where it has none.
    ///
    /// # Errors
    /// The tag cannot be made.
    pub(crate) fn tag(&self, title: Option<&str>) -> Result<Vec<u8>, ConvertError> {
        let mut tags = Tags::default();
        tags.add(&raw::description(&self.demuxer));
        if let Some(stream) = self.demuxer.stream(self.stream_index) {
            // Elsewhere a stream's title is the name of the track: "Stereo", "Commentary".
            if self.demuxer.format().name() == OGG {
                tags.add(&raw::stream_description(&stream));
            }
            if let Some(code) = language_of(&stream) {
                tags.set_language(code);
            }
        }
        for stream in self.demuxer.streams() {
            if let Some(picture) = raw::attachment(&stream) {
                tags.add_picture(picture, &raw::stream_description(&stream));
            }
        }
        tags.add_cover(self.hidden_cover.clone());
        if let Some(title) = title {
            tags.title_or(title);
        }
        if tags.left_out() > 0 {
            tracing::debug!(fields = tags.left_out(), "the tag does not hold everything");
        }
        tags.into_bytes()
            .map_err(|error| ConvertError::internal("writing the tag", error))
    }

    /// Decodes the next samples into `frame`. False at the end of the audio.
    ///
    /// What is damaged is left out, and counted. As with the `ffmpeg` command, the audio ends where the container
    /// can no longer be followed.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn next_frame(&mut self, frame: &mut ff::frame::Audio) -> Result<bool, ConvertError> {
        let mut errors_in_row = 0;
        loop {
            match self.decoder.receive_frame(frame) {
                Ok(()) if frame.samples() > 0 && frame.channels() > 0 => return Ok(true),
                Ok(()) => {}
                Err(ff::Error::Eof) => return Ok(false),
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                }) if !self.draining => {
                    self.feed()?;
                    errors_in_row = 0;
                }
                Err(error) => {
                    enough_memory(error)?;
                    self.is_unsupported |= is_unsupported(error);
                    self.errors += 1;
                    errors_in_row += 1;
                    if errors_in_row > ERRORS_PER_PACKET {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Gives the decoder the next packet, or tells it that there are no more.
    fn feed(&mut self) -> Result<(), ConvertError> {
        if let Some(packet) = self.next_packet()? {
            if raw::is_encrypted(&packet) {
                // A decoder would make noise of it.
                self.is_protected = true;
                self.errors += 1;
            } else if let Err(error) = self.decoder.send_packet(&packet) {
                enough_memory(error)?;
                self.is_unsupported |= is_unsupported(error);
                self.errors += 1;
            }
            return Ok(());
        }
        self.draining = true;
        // A decoder that refuses to drain has nothing left: its next answer is the end or an error.
        if self.decoder.send_eof().is_err() {
            self.errors += 1;
        }
        Ok(())
    }

    /// Whether another attempt at the same source is possible.
    pub(crate) fn can_be_read_again(&self) -> bool {
        self.seekable
    }

    /// Whether the chosen audio is called an MP3 by its container.
    pub(crate) fn is_mp3(&self) -> bool {
        self.decoder.id() == ff::codec::Id::MP3
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
                Ok(()) if packet.stream() == self.stream_index => {
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

    /// Whether the file announces this stream and holds nothing of it, and that is all that is wrong: it holds something of
    /// another one, or its index has nothing.
    fn is_empty(&self, stream: &ff::format::stream::Stream<'_>) -> bool {
        let is_announced_only = !self.has_packets && self.errors == 0 && raw::index_length(stream) == 0;
        let has_others = || self.demuxer.streams().any(|other| choice::has_packets(&other));
        is_announced_only && (allowed::is_mov(&self.start) || has_others())
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
        let stream = self.demuxer.stream(self.stream_index);
        Some(if !self.seekable && allowed::is_mov(&self.start) {
            ConvertError::NeedsSeeking
        } else if self.is_protected {
            Verdict::Protected.into()
        } else if let Some(stream) = stream.as_ref().filter(|_| self.is_unsupported) {
            let kind = decoder::kind_of(stream);
            Verdict::UnsupportedAudio { kind }.into()
        } else if stream.is_some_and(|stream| self.is_empty(&stream)) {
            Verdict::EmptyAudio.into()
        } else if like_media || self.demuxer.probe_score() >= BELIEVED_PROBE_SCORE {
            Verdict::Damaged.into()
        } else {
            Verdict::NotMedia.into()
        })
    }
}

/// Whether a container says that its sound is encrypted.
///
/// # Errors
/// What would tell cannot be read; the reason is kept in the watch.
fn is_protected(demuxer: &ff::format::context::Input, reader: &mut Reader) -> std::io::Result<bool> {
    let mut start = || reader.look(0, SCRAMBLED_START_BYTES);
    Ok(match demuxer.format().name() {
        TRANSPORT_STREAM => scrambling::is_scrambled_transport(&start()?),
        PROGRAM_STREAM => scrambling::is_scrambled_program(&start()?),
        ASF => raw::description(demuxer)
            .iter()
            .any(|(name, _)| ASF_PROTECTION.contains(&name.as_slice())),
        _ => false,
    })
}

pub(crate) fn open_demuxer(
    reader: Reader,
    extension: Option<&str>,
    options: &[(&str, &str)],
) -> Result<ff::format::context::Input, ff::Error> {
    let io = if reader.length_bytes().is_some() {
        StreamIo::from_read_seek_with_capacity(reader, BUFFER_BYTES)
    } else {
        StreamIo::from_read_with_capacity(reader, BUFFER_BYTES)
    }?;
    let name = extension.map_or_else(|| "source".to_owned(), |known| format!("source.{known}"));
    raw::open(io, &name, options.iter().collect())
}

mod place;
#[cfg(test)]
mod tests;
