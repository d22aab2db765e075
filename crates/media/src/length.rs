//! How long a source says that its sound is, and whether that is to be believed.

use std::time::Duration;

use ffmpeg_next as ff;
use ffmpeg_next::format::stream::Stream;

use crate::raw;

/// Sound takes more bytes a second than this: the least are speech of 700 bit/s and digital silence. A length beyond
/// the limit that would take less is proven or refuted by decoding.
const LEAST_BYTES_PER_SECOND: u64 = 1000;

/// How long the sound is by what the container states. None where it states nothing: what libav guesses from the
/// bitrate of the first packets is no length, and all ones are how an MP4 says that it does not know (ISO/IEC 14496-12
/// sections 8.2.2 and 8.4.2).
pub(crate) fn stated(demuxer: &ff::format::context::Input, stream: &Stream<'_>) -> Option<Duration> {
    let is_unknown = [i64::from(u32::MAX), i64::MAX].contains(&stream.duration());
    if is_unknown || raw::is_duration_guessed(demuxer) {
        return None;
    }
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

/// Whether a file of that many bytes may well play so long. Of a stream nobody knows.
pub(crate) fn is_plausible(duration: Duration, file_bytes: Option<u64>) -> bool {
    file_bytes.is_none_or(|bytes| bytes / LEAST_BYTES_PER_SECOND >= duration.as_secs())
}
