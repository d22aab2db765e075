//! How long a source says that its sound is, and whether that is to be believed.

use std::time::Duration;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Stream;

use crate::clock::{Moment, nanoseconds};
use crate::raw;

/// Sound takes more bytes a second than this: the least are speech of 700 bit/s and digital silence. A length beyond
/// the limit that would take less is proven or refuted by decoding.
const LEAST_BYTES_PER_SECOND: u64 = 1000;

/// All ones are how an MP4 says that it does not know a length.
///
/// Source: ISO/IEC 14496-12 sections 8.2.2 and 8.4.2.
const UNKNOWN: i64 = 0xffff_ffff;

/// In what an MP4 counts its length, where not as one of its streams: parts of a second.
const TIMESCALES: [i64; 3] = [600, 1000, 90_000];

/// How long the sound is by what the container states. None where it states nothing.
pub(crate) fn stated(demuxer: &Input, stream: &Stream<'_>) -> Option<Duration> {
    of_stream(demuxer, stream).or_else(|| of_container(demuxer))
}

/// How long a container says that it is. None where it does not: what libav guesses from the bitrate of the first
/// packets is no length.
pub(crate) fn of_container(demuxer: &Input) -> Option<Duration> {
    let microseconds = u64::try_from(demuxer.duration()).ok()?;
    let of_streams = demuxer
        .streams()
        .map(|stream| i64::from(stream.time_base().denominator()));
    let is_unknown = of_streams.chain(TIMESCALES).any(|timescale| {
        let unknown = (UNKNOWN * 1_000_000).checked_div(timescale);
        unknown.is_some_and(|unknown| demuxer.duration().abs_diff(unknown) <= 1)
    });
    let is_stated = microseconds > 0 && !is_unknown && !raw::is_length_guessed(demuxer);
    is_stated.then_some(Duration::from_micros(microseconds))
}

/// How long a container says that a stream is, as above.
pub(crate) fn of_stream(demuxer: &Input, stream: &Stream<'_>) -> Option<Duration> {
    let is_stated = stream.duration() > 0 && ![UNKNOWN, i64::MAX].contains(&stream.duration());
    let is_known = is_stated && !raw::is_length_guessed(demuxer);
    let zero = Moment::of(0, stream.time_base())?;
    let end = Moment::of(stream.duration(), stream.time_base()).filter(|_| is_known)?;
    Some(nanoseconds(end.since(zero))).filter(|length| !length.is_zero())
}

/// Whether a file of that many bytes may well play so long. Of a stream nobody knows.
pub(crate) fn is_plausible(duration: Duration, file_bytes: Option<u64>) -> bool {
    file_bytes.is_none_or(|bytes| bytes / LEAST_BYTES_PER_SECOND >= duration.as_secs())
}
