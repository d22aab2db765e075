//! The two microphones of a camera: a left and a right track of one channel each, where others write one track of two.

use std::time::Duration;

use ffmpeg_next::format::context::Input as Demuxer;
use ffmpeg_next::format::stream::Stream;

use crate::choice::{is_audio, language_of};
use crate::clock::Moment;
use crate::planner::MOV;
use crate::raw;

/// Containers that cameras, recorders of studios and editing programs write, one track for each channel.
const OF_STUDIOS: [&str; 2] = ["mxf", "gxf"];

/// What QuickTime calls its own files in their first box. Other brands (MP4, M4A, 3GP) are of consumers' devices, which
/// write stereo as stereo, and whose mono tracks are different sounds.
///
/// Source: QuickTime File Format Specification, "The File Type Compatibility Atom".
const QUICKTIME: &[u8] = b"qt  ";

/// How much longer than the other one of the two tracks may be.
const SAME_LENGTH: Duration = Duration::from_millis(100);

/// The left and the right track, if the chosen one is the first of two that are the two sides of one sound: mono, of
/// one kind, rate and length, in a container where that is usual, and nothing says that they are different sounds. Of
/// four or eight such tracks it is the first two, which cameras give the microphones that are wanted together.
pub(crate) fn pair(demuxer: &Demuxer, chosen: usize) -> Option<[usize; 2]> {
    if !is_of_a_camera(demuxer) {
        return None;
    }
    let left = demuxer.stream(chosen)?;
    if raw::channels(&left) != 1 {
        return None;
    }
    let mut alike = demuxer
        .streams()
        .filter(|stream| is_audio(stream) && are_alike(&left, stream));
    let (first, second) = (alike.next()?, alike.next()?);
    (first.index() == chosen).then_some([chosen, second.index()])
}

fn is_of_a_camera(demuxer: &Demuxer) -> bool {
    let name = demuxer.format().name().to_owned();
    if OF_STUDIOS.contains(&name.as_str()) {
        return true;
    }
    let description = raw::description(demuxer);
    let brand = description.iter().find(|(key, _)| key == b"major_brand");
    // QuickTime before 2005 says nothing.
    name == MOV && brand.is_none_or(|(_, brand)| brand == QUICKTIME)
}

fn are_alike(one: &Stream<'_>, other: &Stream<'_>) -> bool {
    raw::channels(other) == 1
        && one.parameters().id() == other.parameters().id()
        && raw::sample_rate_hz(one) == raw::sample_rate_hz(other)
        && language_of(one) == language_of(other)
        && title(one) == title(other)
        && are_as_long(one, other)
}

/// What people have called a track; a name that only tells the side is none.
fn title(stream: &Stream<'_>) -> Option<Vec<u8>> {
    const SIDES: [&[u8]; 4] = [b"left", b"right", b"l", b"r"];
    let description = raw::stream_description(stream);
    let (_, title) = description
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(b"title"))?;
    let is_side = SIDES.iter().any(|side| title.eq_ignore_ascii_case(side));
    (!is_side).then_some(title)
}

fn are_as_long(one: &Stream<'_>, other: &Stream<'_>) -> bool {
    let length = |stream: &Stream<'_>| match stream.duration() {
        known @ 1.. => Moment::of(known, stream.time_base()),
        _ => None,
    };
    match (length(one), length(other)) {
        (Some(one), Some(other)) => one.since(other).unsigned_abs() <= SAME_LENGTH.as_nanos(),
        (one, other) => one == other,
    }
}
