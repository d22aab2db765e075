//! From the source to decoded audio: probe, choose the stream, demux, decode.

use std::collections::VecDeque;
use std::time::Duration;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::StreamIo;
use ffmpeg_next::format::stream::{Disposition, Stream};

use crate::boxes::Layout;
use crate::reader::Reader;
use crate::sparse::Plan;
use crate::tags::Tags;
use crate::watch::Watch;
use crate::{ConvertError, Settings, Source, Track, Verdict, allowed, cut, language, raw};

/// libav's buffer. Large ones read the video between the audio of a Flash file along with it.
const BUFFER_BYTES: usize = 16 * 1024;

/// How much of the file's start is kept, to tell afterwards what it is.
const START_BYTES: usize = 64;

/// The lowest score of a probe that is believed when nothing decodes: below, libav guessed.
const BELIEVED_PROBE_SCORE: i32 = 26;

/// How many errors in a row a decoder may report from one packet.
const ERRORS_PER_PACKET: u32 = 64;

/// Less audio than this, from a file that also has errors, counts as nothing.
const ALMOST_NOTHING: Duration = Duration::from_millis(50);

/// What libav is told. It ignores a misspelt name without a word; the tests below prove that each is in force.
const OPTIONS: [(&str, &str); 4] = [
    ("format_whitelist", allowed::FORMATS),
    ("protocol_whitelist", allowed::PROTOCOLS),
    ("codec_whitelist", allowed::CODECS),
    // The playing time of MPEG streams is a guess from the timestamps at both ends, which jump in recordings of broadcasts;
    // and up to 16 MB are read for it.
    ("skip_estimate_duration_from_pts", "1"),
];

/// Has the fragments of an MP4 read one by one, as in a stream, instead of all of their indexes first.
const ONE_BY_ONE: (&str, &str) = ("fflags", "+ignidx");

/// How long before the start of a part decoding begins: what decoders remember of earlier packets is less.
const LEAD_IN: Duration = Duration::from_secs(1);

/// A start before this is reached by decoding.
const WORTH_SKIPPING: Duration = Duration::from_secs(4);

/// How libav calls the containers whose index tells where each sample is.
const MOV: &str = "mov,mp4,m4a,3gp,3g2,mj2";
const AVI: &str = "avi";

/// How libav calls the container that describes its streams, not itself.
const OGG: &str = "ogg";

/// An open source and the decoder of its chosen audio stream.
pub(crate) struct Input {
    demuxer: ff::format::context::Input,
    decoder: ff::decoder::Audio,
    stream_index: usize,
    watch: Watch,
    start: Vec<u8>,
    seekable: bool,
    /// Whether timestamps tell the sample, and seeking goes where it is told.
    has_exact_places: bool,
    /// Packets that were looked at and not yet used.
    ahead: VecDeque<ff::Packet>,
    /// Whether the container has no more packets.
    is_over: bool,
    draining: bool,
    /// Packets the decoder refused, and frames it could not make.
    pub(crate) errors: u64,
}

impl Input {
    /// Probes the source and opens the decoder of the audio stream that the `ffmpeg` command would take.
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
        let mut options = OPTIONS.to_vec();
        options.extend((layout == Layout::Fragmented).then_some(ONE_BY_ONE));
        let opened = open_demuxer(reader.clone(), settings.extension(), &options);
        let planner = Planner { layout, length };
        let opened = opened.and_then(|mut demuxer| {
            reader.follow(planner.of(&demuxer, is_audio));
            if !planner.is_known(&demuxer) {
                raw::probe_streams(&mut demuxer)?;
            }
            Ok(demuxer)
        });
        watch.check()?;
        let mut demuxer = match opened {
            Ok(demuxer) => demuxer,
            Err(error) => {
                tracing::debug!(%error, "the source does not open");
                return Err(match allowed::begins_like_media(&start) {
                    true if !seekable && allowed::is_mov(&start) => ConvertError::NeedsSeeking,
                    true => Verdict::Damaged.into(),
                    false => Verdict::NotMedia.into(),
                });
            }
        };
        let limits = &settings.limits;
        if demuxer.nb_streams() > limits.streams {
            return Err(Verdict::TooManyStreams {
                streams: demuxer.nb_streams(),
                limit: limits.streams,
            }
            .into());
        }
        if !demuxer.streams().any(|stream| is_audio(&stream)) {
            return Err(verdict_without_audio(&demuxer, &start).into());
        }
        let Some(stream_index) = choose_stream(&demuxer, settings.track.as_ref()) else {
            let present = audio_tracks(&demuxer);
            return Err(Verdict::NoSuchTrack { present }.into());
        };
        for mut stream in demuxer.streams_mut() {
            if stream.index() != stream_index {
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
        reader.follow(planner.of(&demuxer, |other| other.index() == stream_index));
        reader.opened();
        let duration = cut::playing_time(settings, declared_duration(&demuxer, &stream));
        if duration.is_some_and(|duration| duration > limits.duration) {
            return Err(Verdict::TooLong { limit: limits.duration }.into());
        }
        watch.update(|progress| progress.duration = duration);
        let has_exact_places = planner.has_exact_places(&demuxer, &stream);
        let decoder = open_decoder(&stream)?;
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
            watch: watch.clone(),
            start,
            seekable,
            has_exact_places,
            ahead: VecDeque::new(),
            is_over: false,
            draining: false,
            errors: 0,
        })
    }

    /// The tag for the MP3: what the source says of itself, with the file's name for a title where it has none.
    ///
    /// # Errors
    /// The tag cannot be made.
    pub(crate) fn tag(&self, file_name: Option<&str>) -> Result<Vec<u8>, ConvertError> {
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
            if let Some(picture) = raw::attached_picture(&stream) {
                tags.add_picture(picture);
            }
        }
        if let Some(name) = file_name {
            tags.name_after(name);
        }
        tags.to_bytes()
            .map_err(|error| ConvertError::internal("writing the tag", error))
    }

    /// Goes on shortly before `target`, where the container can tell exactly where that is: the frames that follow are
    /// from the position in the audio that is returned, and the next one is in `first`, which is empty at the end of the
    /// audio. Elsewhere it changes nothing, and returns None.
    ///
    /// To be called with the first frame in `first`.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    pub(crate) fn skip_to(
        &mut self,
        target: Duration,
        first: &mut ff::frame::Audio,
    ) -> Result<Option<Duration>, ConvertError> {
        let Some(origin) = first
            .timestamp()
            .filter(|_| self.has_exact_places && target >= WORTH_SKIPPING)
        else {
            return Ok(None);
        };
        let Some(stream) = self.demuxer.stream(self.stream_index) else {
            return Ok(None);
        };
        let time_base = (stream.time_base().numerator(), stream.time_base().denominator());
        let wanted = i64::try_from((target - LEAD_IN).as_micros()).unwrap_or(i64::MAX);
        let wanted = ff::rescale::Rescale::rescale(&wanted, (1, 1_000_000), time_base).saturating_add(origin);
        let went = raw::seek(&mut self.demuxer, self.stream_index, wanted);
        self.watch.check()?;
        if let Err(error) = went {
            tracing::debug!(%error, "the source cannot be skipped");
            return Ok(None);
        }
        self.decoder.flush();
        self.ahead.clear();
        self.is_over = false;
        self.draining = false;
        if !self.next_frame(first)? {
            // Behind the end of the audio.
            return Ok(Some(target));
        }
        let position = first.timestamp().and_then(|timestamp| {
            let scaled = i128::from(timestamp.checked_sub(origin)?) * i128::from(time_base.0) * 1_000_000_000;
            let nanoseconds = scaled.checked_div(i128::from(time_base.1))?;
            Some(Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
        });
        Ok(Some(position.unwrap_or(target - LEAD_IN)))
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
                Err(_) => {
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
            if self.decoder.send_packet(&packet).is_err() {
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
                Ok(()) if packet.stream() == self.stream_index => return Ok(Some(packet)),
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
        Some(if !self.seekable && allowed::is_mov(&self.start) {
            ConvertError::NeedsSeeking
        } else if like_media || self.demuxer.probe_score() >= BELIEVED_PROBE_SCORE {
            Verdict::Damaged.into()
        } else {
            Verdict::NotMedia.into()
        })
    }
}

fn open_demuxer(
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

/// Finds out which parts of a file need not be fetched.
struct Planner {
    layout: Layout,
    length: Option<u64>,
}

impl Planner {
    /// Whether the container's index tells where each sample is.
    fn is_indexed(&self, demuxer: &ff::format::context::Input) -> bool {
        let format = demuxer.format();
        let is_whole_mov = format.name() == MOV && self.layout == Layout::Whole;
        self.length.is_some() && (is_whole_mov || format.name() == AVI)
    }

    /// Whether the container's header tells all that is needed to choose and decode an audio stream, so that nobody needs to
    /// look into the data.
    fn is_known(&self, demuxer: &ff::format::context::Input) -> bool {
        let is_indexed = self.is_indexed(demuxer);
        let is_fragmented = demuxer.format().name() == MOV && self.layout == Layout::Fragmented;
        let mut audio = demuxer.streams().filter(is_audio);
        match (audio.next(), audio.next()) {
            (None, _) => is_indexed,
            (Some(stream), None) => {
                let id = stream.parameters().id();
                let is_complete = raw::sample_rate_hz(&stream) > 0 && raw::channels(&stream) > 0;
                (is_indexed || is_fragmented) && id != ff::codec::Id::None && is_complete
            }
            // Between several, the number of channels decides, on which containers can be wrong.
            (Some(_), Some(_)) => false,
        }
    }

    /// Whether a timestamp of this stream tells the very sample, and libav finds the place of one without reading on.
    fn has_exact_places(&self, demuxer: &ff::format::context::Input, stream: &Stream<'_>) -> bool {
        let (time_base, rate_hz) = (stream.time_base(), raw::sample_rate_hz(stream));
        let units = u32::try_from(time_base.denominator()).unwrap_or(0);
        let is_exact = time_base.numerator() == 1
            && (rate_hz.checked_rem(units) == Some(0) || units.checked_rem(rate_hz) == Some(0));
        let format = demuxer.format();
        let is_found = match format.name() {
            MOV => self.is_indexed(demuxer),
            "wav" | "w64" | "aiff" => self.length.is_some() && stream.parameters().id().name().starts_with("pcm_"),
            _ => false,
        };
        is_exact && is_found
    }

    /// What must be read of the file for the streams that are wanted. None where that may be anything.
    fn of(&self, demuxer: &ff::format::context::Input, wanted: impl Fn(&Stream<'_>) -> bool) -> Option<Plan> {
        if !self.is_indexed(demuxer) {
            return None;
        }
        let length = self.length?;
        let (wanted, unwanted): (Vec<_>, Vec<_>) = demuxer.streams().partition(wanted);
        if demuxer.format().name() == AVI {
            Plan::of_chunks(Places::of(&wanted), Places::of(&unwanted), length)
        } else {
            Plan::of_samples(Places::of(&wanted), length)
        }
    }
}

/// The places in the indexes of several streams, one stream after the other.
struct Places<'a> {
    streams: &'a [Stream<'a>],
    next: usize,
    left: usize,
}

impl<'a> Places<'a> {
    fn of(streams: &'a [Stream<'a>]) -> Self {
        Self {
            streams,
            next: 0,
            left: streams.iter().map(raw::index_length).sum(),
        }
    }
}

impl Iterator for Places<'_> {
    type Item = (u64, u32);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (stream, others) = self.streams.split_first()?;
            if self.next < raw::index_length(stream) {
                self.next += 1;
                self.left = self.left.saturating_sub(1);
                // A place that is none in a file needs nothing.
                return Some(raw::index_place(stream, self.next - 1).unwrap_or((0, 0)));
            }
            self.streams = others;
            self.next = 0;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Places<'_> {}

fn is_audio(stream: &Stream<'_>) -> bool {
    stream.parameters().medium() == ff::media::Type::Audio
}

/// The audio stream that was asked for. Where several are meant: the one that the `ffmpeg` command takes when it is not
/// told, which is, of those the probe met, the default ones first, then the one with the most channels, then the first.
fn choose_stream(demuxer: &ff::format::context::Input, track: Option<&Track>) -> Option<usize> {
    let mut best: Option<(u64, usize)> = None;
    for (number, stream) in (0..).zip(demuxer.streams().filter(is_audio)) {
        let is_meant = match track {
            None => true,
            Some(Track::Index(wanted)) => number == *wanted,
            Some(Track::Language(wanted)) => {
                language::code(wanted).is_some_and(|code| language_of(&stream) == Some(code))
            }
        };
        if !is_meant {
            continue;
        }
        // Source: open_output_file in fftools/ffmpeg_opt.c of FFmpeg 5.1.
        let score = 100_000_000 * u64::from(has_packets(&stream))
            + 5_000_000 * u64::from(stream.disposition().contains(Disposition::DEFAULT))
            + u64::from(raw::channels(&stream));
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, stream.index()));
        }
    }
    best.map(|(_, index)| index)
}

/// The audio tracks of a file, for people.
fn audio_tracks(demuxer: &ff::format::context::Input) -> String {
    let tracks = demuxer.streams().filter(is_audio).enumerate();
    let names = tracks.map(|(number, stream)| match language_of(&stream) {
        Some(code) => format!("{number} ({})", String::from_utf8_lossy(&code)),
        None => number.to_string(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The language of a stream, where the container tells it.
fn language_of(stream: &Stream<'_>) -> Option<[u8; 3]> {
    let description = raw::stream_description(stream);
    let (_, name) = description
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(b"language"))?;
    language::code(str::from_utf8(name).ok()?)
}

/// Whether the probe met packets of this stream, or the index knows of some.
fn has_packets(stream: &Stream<'_>) -> bool {
    raw::had_packets(stream) || raw::index_length(stream) > 0
}

/// What a file is that opens and has no audio stream.
fn verdict_without_audio(demuxer: &ff::format::context::Input, start: &[u8]) -> Verdict {
    if demuxer.probe_score() < BELIEVED_PROBE_SCORE && !allowed::begins_like_media(start) {
        Verdict::NotMedia
    } else if demuxer.streams().any(|stream| has_packets(&stream)) {
        Verdict::NoAudio
    } else {
        // It ends before its data, so the audio may only not have been announced yet.
        Verdict::Damaged
    }
}

fn declared_duration(demuxer: &ff::format::context::Input, stream: &Stream<'_>) -> Option<Duration> {
    let time_base = stream.time_base();
    let in_microseconds = |count: i64, numerator: i32, denominator: i32| {
        let scaled = i128::from(count) * 1_000_000 * i128::from(numerator);
        let microseconds = scaled.checked_div(i128::from(denominator))?;
        Some(Duration::from_micros(u64::try_from(microseconds).ok()?))
    };
    in_microseconds(stream.duration(), time_base.numerator(), time_base.denominator())
        .or_else(|| in_microseconds(demuxer.duration(), 1, ff::ffi::AV_TIME_BASE))
        .filter(|duration| !duration.is_zero())
}

fn open_decoder(stream: &Stream<'_>) -> Result<ff::decoder::Audio, ConvertError> {
    let parameters = stream.parameters();
    let id = parameters.id();
    let unknown = || Verdict::UnknownAudio {
        codec: id.name().to_owned(),
    };
    let codec = ff::decoder::find(id).ok_or_else(unknown)?;
    if !allowed::CODECS.split(',').any(|name| name == codec.name()) {
        return Err(unknown().into());
    }
    let context = ff::codec::Context::from_parameters(parameters)
        .map_err(|error| ConvertError::internal("preparing the decoder", error))?;
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    let opened = decoder.open_as(codec).and_then(|opened| opened.audio());
    opened.map_err(|error| {
        tracing::debug!(%error, codec = codec.name(), "the decoder does not open");
        Verdict::Damaged.into()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;
    use std::ops::ControlFlow;

    use super::*;

    fn open(bytes: &[u8], options: &[(&str, &str)]) -> Result<ff::format::context::Input, ff::Error> {
        ff::log::set_level(ff::log::Level::Quiet);
        let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
        let source = Source::seekable(Cursor::new(bytes.to_vec()));
        open_demuxer(Reader::new(source, watch).unwrap(), None, options).and_then(|mut demuxer| {
            raw::probe_streams(&mut demuxer)?;
            Ok(demuxer)
        })
    }

    #[test]
    fn the_list_of_containers_is_in_force() {
        let subtitles = b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nBye\n";
        assert!(open(subtitles, &[]).is_ok(), "libav knows the format");
        assert!(open(subtitles, &OPTIONS[..1]).is_err());
    }

    #[test]
    fn the_list_of_protocols_is_in_force() {
        let target = testkit::media::sample("wav-44100");
        let playlist = format!("ffconcat version 1.0\nfile 'file:{}'\n", target.display());
        let streams =
            |options: &[(&str, &str)]| open(playlist.as_bytes(), options).map_or(0, |demuxer| demuxer.nb_streams());
        let unsafe_names = ("safe", "0");
        assert_eq!(streams(&[unsafe_names]), 1, "libav opens what a playlist names");
        assert_eq!(streams(&[unsafe_names, OPTIONS[1]]), 0);
    }

    #[test]
    fn the_list_of_decoders_is_in_force() {
        let video = fs::read(testkit::media::without_audio()).unwrap();
        let knows_the_picture = |options: &[(&str, &str)]| {
            let demuxer = open(&video, options).unwrap();
            let parameters = demuxer.stream(0).unwrap().parameters();
            let context = ff::codec::Context::from_parameters(parameters).unwrap();
            let decoder = context.decoder().video().unwrap();
            decoder.format() != ff::format::Pixel::None
        };
        assert!(knows_the_picture(&[]), "libav probes with the video decoder");
        assert!(!knows_the_picture(&OPTIONS[2..]));
    }

    /// The data of the audio packets, read with or without knowing what is useless, and how many bytes were fetched.
    fn audio_packets(bytes: &[u8], sparse: bool) -> (Vec<Vec<u8>>, u64) {
        ff::log::set_level(ff::log::Level::Quiet);
        let watch = Watch::new(|_| ControlFlow::Continue(()), Duration::MAX);
        let reader = Reader::new(Source::seekable(Cursor::new(bytes.to_vec())), watch.clone()).unwrap();
        let mut demuxer = open_demuxer(reader.clone(), None, &OPTIONS).unwrap();
        let planner = Planner {
            layout: Layout::Whole,
            length: reader.length_bytes(),
        };
        if sparse {
            reader.follow(planner.of(&demuxer, is_audio));
        }
        let audio = demuxer.streams().find(is_audio).unwrap().index();
        for mut stream in demuxer.streams_mut() {
            if stream.index() != audio {
                raw::discard(&mut stream);
            }
        }
        let mut packets = Vec::new();
        let mut packet = ff::Packet::empty();
        while packet.read(&mut demuxer).is_ok() {
            if packet.stream() == audio {
                packets.push(packet.data().unwrap_or_default().to_vec());
            }
        }
        (packets, watch.progress().bytes_read)
    }

    /// A video whose pictures are worth leaving out.
    fn video(extension: &str, codec: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("video").with_extension(extension);
        testkit::media::ffmpeg(
            &format!(
                "-f lavfi -i testsrc2=size=640x360:rate=25:duration=3 -f lavfi -i sine=440:duration=3 \
                 -c:v mjpeg -q:v 5 -pix_fmt yuvj420p -c:a {codec}"
            ),
            &path,
        );
        fs::read(path).unwrap()
    }

    #[test]
    fn an_avi_whose_index_lies_gives_the_packets_that_reading_all_of_it_gives() {
        let honest = video("avi", "libmp3lame");
        let (packets, fetched) = audio_packets(&honest, true);
        assert!(packets == audio_packets(&honest, false).0 && !packets.is_empty());
        assert!(fetched < honest.len() as u64 / 4, "{fetched} of {}", honest.len());
        let index = honest.windows(4).rposition(|kind| kind == b"idx1").unwrap() + 8;
        for lie in [1_u32, 4, 8, 1000, 100_000, u32::MAX] {
            for field in [8, 12] {
                for every in [1, 2, 7] {
                    let mut bytes = honest.clone();
                    for entry in bytes[index..].chunks_exact_mut(16).skip(3).step_by(every) {
                        let told = u32::from_le_bytes(entry[field..field + 4].try_into().unwrap());
                        entry[field..field + 4].copy_from_slice(&told.wrapping_add(lie).to_le_bytes());
                    }
                    let same = audio_packets(&bytes, true).0 == audio_packets(&bytes, false).0;
                    assert!(same, "lie {lie} at {field} in every {every}");
                }
            }
        }
    }

    #[test]
    fn an_mp4_gives_the_packets_that_reading_all_of_it_gives() {
        for (extension, codec) in [
            ("mov", "aac"),
            ("mov", "pcm_s16le"),
            ("mp4", "libmp3lame"),
            ("mov", "ac3"),
        ] {
            let bytes = video(extension, codec);
            let (packets, fetched) = audio_packets(&bytes, true);
            assert!(
                packets == audio_packets(&bytes, false).0 && !packets.is_empty(),
                "{codec}"
            );
            assert!(
                fetched < bytes.len() as u64 / 2,
                "{codec}: {fetched} of {}",
                bytes.len()
            );
        }
    }
}
