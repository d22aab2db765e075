//! Which stream of a file is converted.

use ffmpeg_next as ff;
use ffmpeg_next::format::stream::{Disposition, Stream};

use crate::input::BELIEVED_PROBE_SCORE;
use crate::{Track, Verdict, allowed, language, raw};

/// Whether a stream is sound.
pub(crate) fn is_audio(stream: &Stream<'_>) -> bool {
    stream.parameters().medium() == ff::media::Type::Audio
}

/// The audio stream that was asked for. Where several are meant: the one that the `ffmpeg` command takes when it is not
/// told, which is, of those the probe met, the default ones first, then the one with the most channels, then the first.
pub(crate) fn choose_stream(demuxer: &ff::format::context::Input, track: Option<&Track>) -> Option<usize> {
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
pub(crate) fn audio_tracks(demuxer: &ff::format::context::Input) -> String {
    let tracks = demuxer.streams().filter(is_audio).enumerate();
    let names = tracks.map(|(number, stream)| match language_of(&stream) {
        Some(code) => format!("{number} ({})", String::from_utf8_lossy(&code)),
        None => number.to_string(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The language of a stream, where the container tells it.
pub(crate) fn language_of(stream: &Stream<'_>) -> Option<[u8; 3]> {
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
pub(crate) fn verdict_without_audio(demuxer: &ff::format::context::Input, start: &[u8]) -> Verdict {
    if demuxer.probe_score() < BELIEVED_PROBE_SCORE && !allowed::begins_like_media(start) {
        Verdict::NotMedia
    } else if demuxer.streams().any(|stream| has_packets(&stream)) {
        Verdict::NoAudio
    } else {
        // It ends before its data, so the audio may only not have been announced yet.
        Verdict::Damaged
    }
}
