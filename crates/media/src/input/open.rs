//! Opening a source: its container, its audio, and what the limits say of both.

use std::time::Duration;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::StreamIo;

use super::Input;
use crate::boxes::Layout;
use crate::choice::{self, Why, is_audio, verdict_without_audio};
use crate::decoder::enough_memory;
use crate::decoders::Decoders;
use crate::extent::Extent;
use crate::late::Met;
use crate::planner::Planner;
use crate::reader::Reader;
use crate::settings::Limits;
use crate::tags::{Cover, look_for_webp};
use crate::timeline::Timeline;
use crate::watch::Watch;
use crate::{ConvertError, Settings, Source, Track, Verdict, allowed, cut, late, length, protection, raw, width};

/// libav's buffer. Large ones read the video between the audio of a Flash file along with it.
const BUFFER_BYTES: usize = 16 * 1024;

/// How much of the file's start is kept, to tell afterwards what it is.
const START_BYTES: usize = 64;

/// What libav is told. The tests below prove that each list is in force.
pub(crate) const OPTIONS: [(&str, &str); 4] = [
    ("format_whitelist", allowed::FORMATS),
    ("protocol_whitelist", allowed::PROTOCOLS),
    ("codec_whitelist", allowed::CODECS),
    // The playing time of MPEG streams is a guess from the timestamps at both ends, which jump in recordings of
    // broadcasts; and up to 16 MB are read for it.
    ("skip_estimate_duration_from_pts", "1"),
];

/// Has the fragments of an MP4 read one by one, as in a stream, instead of all of their indexes first.
const ONE_BY_ONE: (&str, &str) = ("fflags", "+ignidx");

/// A container that opened; nothing of it is chosen.
struct Container {
    demuxer: ff::format::context::Input,
    reader: Reader,
    planner: Planner,
    /// The first bytes of the file.
    start: Vec<u8>,
    hidden_cover: Cover,
}

impl Input {
    /// Probes the source, chooses the audio stream, and opens its decoder.
    ///
    /// # Errors
    /// Every verdict but those on what is decoded; a source that cannot be read; a cancel.
    pub(crate) fn open(source: Source, settings: &Settings, watch: &Watch) -> Result<Self, ConvertError> {
        // What libav would print holds text from the file, and belongs to nobody.
        ff::log::set_level(ff::log::Level::Quiet);
        let mut container = Container::open(source, settings.extension(), watch)?;
        let is_protected = container.is_protected(watch)?;
        let Met {
            sound: mut ahead,
            firsts,
        } = container.find_sound(watch)?;
        let tracks = container.count_tracks(&settings.limits)?;
        if tracks == 0 && is_protected {
            return Err(Verdict::Protected.into());
        }
        if tracks == 0 {
            return Err(verdict_without_audio(&container.demuxer, &container.start).into());
        }
        let (mut track, stream_index, decoder) = choice::choose(&container.demuxer, settings.track.as_ref())?;
        let seekable = container.planner.length.is_some();
        let (decoders, wanted, left_out) =
            Decoders::open(&container.demuxer, stream_index, decoder, settings, seekable)?;
        let stream_index = wanted.first().copied().unwrap_or(stream_index);
        if wanted.len() > 1 {
            track.why = Why::Together;
        } else if settings.track == Some(Track::All) {
            track.why = Why::Asked;
        }
        ahead.retain(|packet| wanted.contains(&packet.stream()));
        let is_protected = is_protected || container.has_unmarked_samples(stream_index, watch)?;
        let extent = container.read_only(&wanted, &firsts, tracks);
        let Container {
            demuxer,
            planner,
            start,
            hidden_cover,
            ..
        } = container;
        let Some(stream) = demuxer.stream(stream_index) else {
            return Err(ConvertError::Internal {
                operation: "choosing the audio stream",
                source: None,
            });
        };
        let streams: Vec<_> = wanted.iter().filter_map(|index| demuxer.stream(*index)).collect();
        let declared = judge(&demuxer, &streams, settings, planner.length)?;
        watch.update(|progress| progress.duration = cut::playing_time(settings, declared));
        let has_exact_places = streams.iter().all(|stream| planner.has_exact_places(&demuxer, stream));
        tracing::debug!(
            container = demuxer.format().name(),
            codec = ?stream.parameters().id(),
            channels = raw::channels(&stream),
            streams = demuxer.nb_streams(),
            "source opened"
        );
        Ok(Self {
            demuxer,
            decoders,
            wanted,
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
            is_protected,
            errors: 0,
            unsupported: 0,
            notes: left_out.into_iter().collect(),
        })
    }
}

impl Container {
    /// # Errors
    /// No container that is known, or a damaged one; a source that cannot be read; a cancel.
    fn open(source: Source, extension: Option<&str>, watch: &Watch) -> Result<Self, ConvertError> {
        let mut reader = Reader::new(source, watch.clone()).map_err(ConvertError::Read)?;
        let why = |error| why(error, watch);
        let start = reader.look(0, START_BYTES).map_err(why)?;
        if start.is_empty() {
            return Err(Verdict::Empty.into());
        }
        let length = reader.length_bytes();
        let layout = match length {
            Some(length) if allowed::is_mov(&start) => Layout::of(&mut reader, length).map_err(why)?,
            _ => Layout::Unclear,
        };
        let hidden_cover = match length {
            Some(_) => look_for_webp(&mut |at, count| reader.look(at, count)).map_err(why)?,
            None => Cover::default(),
        };
        let planner = Planner { layout, length };
        let mut options = OPTIONS.to_vec();
        options.extend((layout == Layout::Fragmented).then_some(ONE_BY_ONE));
        let opened = open_demuxer(reader.clone(), extension, &options).and_then(|mut demuxer| {
            reader.follow(planner.of(&demuxer, is_audio));
            // What cannot be read is told by the watch.
            width::correct(&mut demuxer, &mut reader).map_err(|_| ff::Error::InvalidData)?;
            if !planner.is_known(&demuxer) {
                raw::probe_streams(&mut demuxer)?;
            }
            Ok(demuxer)
        });
        watch.check()?;
        match opened {
            Ok(demuxer) => Ok(Self {
                demuxer,
                reader,
                planner,
                start,
                hidden_cover,
            }),
            Err(error) => {
                enough_memory(error)?;
                tracing::debug!(%error, "the source does not open");
                Err(match allowed::begins_like_media(&start) {
                    _ if protection::has_protected_brand(&start) => Verdict::Protected.into(),
                    true if length.is_none() && allowed::is_mov(&start) => ConvertError::NeedsSeeking,
                    true => Verdict::Damaged.into(),
                    false => Verdict::NotMedia.into(),
                })
            }
        }
    }

    /// Whether some of the sound is protected, and may all be.
    ///
    /// # Errors
    /// All of it is; what would tell cannot be read; a cancel.
    fn is_protected(&mut self, watch: &Watch) -> Result<bool, ConvertError> {
        if protection::has_licence(&self.demuxer) {
            return Err(Verdict::Protected.into());
        }
        let is_scrambled = protection::is_scrambled(&self.demuxer, &mut self.reader);
        let is_scrambled = is_scrambled.map_err(|error| why(error, watch))?;
        Ok(is_scrambled || protection::has_protected_brand(&self.start))
    }

    /// Whether samples of that stream are encrypted, and not marked so.
    ///
    /// # Errors
    /// The source cannot be read; a cancel.
    fn has_unmarked_samples(&mut self, stream_index: usize, watch: &Watch) -> Result<bool, ConvertError> {
        let Some(stream) = self.demuxer.stream(stream_index) else {
            return Ok(false);
        };
        protection::has_unmarked_samples(&stream, &self.planner, &mut self.reader).map_err(|error| why(error, watch))
    }

    /// Looks further where the start of the file has no sound, and more streams may come.
    ///
    /// # Errors
    /// The source cannot be read, or a cancel.
    fn find_sound(&mut self, watch: &Watch) -> Result<Met, ConvertError> {
        if self.demuxer.streams().any(|stream| is_audio(&stream)) || !raw::has_streams_to_come(&self.demuxer) {
            return Ok(Met::default());
        }
        late::find_sound(&mut self.demuxer, self.planner.length, watch)
    }

    /// # Errors
    /// There are more audio tracks than allowed.
    fn count_tracks(&self, limits: &Limits) -> Result<u32, Verdict> {
        let count = self.demuxer.streams().filter(is_audio).count();
        let streams = u32::try_from(count).unwrap_or(u32::MAX);
        let limit = limits.streams;
        if streams > limit {
            return Err(Verdict::TooManyStreams { streams, limit });
        }
        Ok(streams)
    }

    /// Has nothing read any more but these audio streams, and what tells how long the picture is.
    /// `firsts` were read already.
    fn read_only(&mut self, wanted: &[usize], firsts: &[ff::Packet], tracks: u32) -> Extent {
        let mut extent = Extent::of(&self.demuxer, wanted.first().copied().unwrap_or(0));
        for first in firsts {
            let stream = self.demuxer.stream(first.stream());
            if let Some(stream) = stream.filter(|stream| extent.watches(stream.index())) {
                extent.seen(first, stream.time_base());
            }
        }
        for mut stream in self.demuxer.streams_mut() {
            if !wanted.contains(&stream.index()) && !extent.watches(stream.index()) {
                raw::discard(&mut stream);
            }
        }
        if tracks > 1 {
            let plan = self.planner.of(&self.demuxer, |other| wanted.contains(&other.index()));
            self.reader.follow(plan);
        }
        self.reader.opened();
        extent
    }
}

/// Why something could not be read: a cancel comes first.
fn why(error: std::io::Error, watch: &Watch) -> ConvertError {
    watch.check().err().unwrap_or(ConvertError::Read(error))
}

/// Judges the wanted audio by what the container says of it. How long it says that it is, where that is to be believed:
/// another length refuses nothing, what is decoded will tell.
///
/// # Errors
/// It has too many channels, or is too long.
fn judge(
    demuxer: &ff::format::context::Input,
    wanted: &[ff::format::stream::Stream<'_>],
    settings: &Settings,
    file_bytes: Option<u64>,
) -> Result<Option<Duration>, Verdict> {
    let limits = &settings.limits;
    let (channels, limit) = (wanted.iter().map(raw::channels).max().unwrap_or(0), limits.channels);
    if channels > limit {
        return Err(Verdict::TooManyChannels { channels, limit });
    }
    let declared = wanted
        .iter()
        .filter_map(|stream| length::stated(demuxer, stream))
        .max()
        .filter(|stated| *stated <= limits.duration || length::is_plausible(*stated, file_bytes));
    let duration = cut::playing_time(settings, declared);
    if declared.is_some() && duration.is_some_and(|duration| duration > limits.duration) {
        return Err(Verdict::TooLong { limit: limits.duration });
    }
    Ok(declared)
}

/// Opens the container of what a reader gives.
///
/// # Errors
/// No container that is allowed; an option that libav does not know.
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

#[cfg(test)]
mod tests;
