//! What the safe wrappers of libav and LAME leave out. The only room with `unsafe`.
#![expect(
    unsafe_code,
    reason = "ffmpeg-next cannot discard a stream and mp3lame-encoder has no 56 kbit/s"
)]

use ffmpeg_next as ff;
use ffmpeg_next::format::stream::{Stream, StreamMut};
use mp3lame_encoder::{BuildError, Builder, ffi as lame};

/// Makes the demuxer skip the stream's data, where the container allows without reading it.
pub(crate) fn discard(stream: &mut StreamMut<'_>) {
    // SAFETY: the pointer is the stream's own, valid as long as its context, which `stream` borrows mutably.
    unsafe {
        (*stream.as_mut_ptr()).discard = ff::ffi::AVDiscard::AVDISCARD_ALL;
    }
}

/// How many channels the container or the probe found in an audio stream; 0 where neither knows.
pub(crate) fn channels(stream: &Stream<'_>) -> u32 {
    // SAFETY: the stream and its codec parameters live as long as their context, which `stream` borrows.
    let count = unsafe { (*(*stream.as_ptr()).codecpar).ch_layout.nb_channels };
    u32::try_from(count).unwrap_or(0)
}

/// Whether the probe met packets of this stream.
pub(crate) fn had_packets(stream: &Stream<'_>) -> bool {
    // SAFETY: the stream lives as long as its context, which `stream` borrows.
    let flags = unsafe { (*stream.as_ptr()).event_flags };
    flags & ff::ffi::AVSTREAM_EVENT_FLAG_NEW_PACKETS != 0
}

/// Sets LAME's constant bitrate in kbit/s.
///
/// # Errors
/// LAME has no such bitrate.
pub(crate) fn set_bitrate(builder: &mut Builder, kbps: u16) -> Result<(), BuildError> {
    // SAFETY: the pointer is the builder's own, and the call only stores a number behind it.
    let answer = unsafe { lame::lame_set_brate(builder.as_ptr(), i32::from(kbps)) };
    if answer < 0 {
        return Err(BuildError::BadBRate);
    }
    Ok(())
}
