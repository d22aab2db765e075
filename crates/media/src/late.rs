//! Sound that begins late in a container whose header does not list its streams: VOB and other MPEG program streams,
//! MPEG-TS, FLV.
//!
//! Such streams are known from their first packet on. What libav reads to learn of them, 5 MB, is half a minute of a
//! web video and four seconds of a DVD.

use std::collections::VecDeque;

use ffmpeg_next as ff;
use ffmpeg_next::format::context::Input;

use crate::choice::is_audio;
use crate::decoder::enough_memory;
use crate::protection::{PROGRAM_STREAM, TRANSPORT_STREAM};
use crate::watch::Watch;
use crate::{ConvertError, raw};

/// How much of a file without any known sound is read in one go: a minute of a DVD.
const IN_A_ROW_BYTES: u64 = 64 * 1024 * 1024;

/// How many places of the rest are looked at, and how much there. Together with the above that is what it costs to say
/// that a large file has no sound: at most 96 MiB.
const PLACES: u64 = 16;
const PLACE_BYTES: u64 = 2 * 1024 * 1024;

/// Containers that can be read from anywhere, as libav calls them. Elsewhere, as in FLV, what is found after going to a
/// byte may be anything, and the next packet anywhere.
const ANYWHERE: [&str; 2] = [PROGRAM_STREAM, TRANSPORT_STREAM];

/// How far to read on after the first sound was met: the other tracks begin at the same time.
const OTHERS_BYTES: u64 = 1024 * 1024;

/// What was met on the way to the sound.
#[derive(Default)]
pub(crate) struct Met {
    /// What comes next of the sound, of every track that was met; empty where the demuxer goes on reading by itself.
    pub(crate) sound: VecDeque<ff::Packet>,
    /// The first packet of every other stream.
    pub(crate) firsts: Vec<ff::Packet>,
}

/// Looks for sound where the start of the file has none.
///
/// # Errors
/// The source cannot be read, or a cancel.
pub(crate) fn find_sound(demuxer: &mut Input, file_bytes: Option<u64>, watch: &Watch) -> Result<Met, ConvertError> {
    let begin = raw::position(demuxer).unwrap_or(0);
    let mut met = Met::default();
    if met.look(demuxer, begin + IN_A_ROW_BYTES, watch)? || !ANYWHERE.contains(&demuxer.format().name()) {
        return Ok(met);
    }
    let end = raw::position(demuxer).unwrap_or(0);
    let rest = file_bytes.unwrap_or(0).saturating_sub(end);
    for place in (1..=PLACES).map(|number| end + rest / PLACES * number) {
        // The last place is the end of the file.
        let place = place.min((end + rest).saturating_sub(PLACE_BYTES));
        if rest == 0 || raw::seek_to_byte(demuxer, place).is_err() {
            break;
        }
        if met.look(demuxer, place + PLACE_BYTES, watch)? {
            // All of it has to be read from here on.
            met.sound.clear();
            let back = raw::seek_to_byte(demuxer, end);
            watch.check()?;
            return back
                .map(|()| met)
                .map_err(|error| ConvertError::internal("going back to where the sound is", error));
        }
    }
    watch.check()?;
    Ok(met)
}

impl Met {
    /// Reads up to that place. Whether there is sound, whose streams are then known to the demuxer.
    fn look(&mut self, demuxer: &mut Input, mut until: u64, watch: &Watch) -> Result<bool, ConvertError> {
        loop {
            let mut packet = ff::Packet::empty();
            let read = packet.read(demuxer);
            watch.check()?;
            match read {
                Ok(()) if demuxer.stream(packet.stream()).is_some_and(|stream| is_audio(&stream)) => {
                    if self.sound.is_empty() {
                        until = until.min(raw::position(demuxer).unwrap_or(0) + OTHERS_BYTES);
                    }
                    self.sound.push_back(packet);
                }
                Ok(()) if self.firsts.iter().all(|first| first.stream() != packet.stream()) => self.firsts.push(packet),
                Ok(()) => {}
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                }) => {}
                Err(error) => {
                    enough_memory(error)?;
                    break;
                }
            }
            if raw::position(demuxer).is_none_or(|position| position >= until) {
                break;
            }
        }
        Ok(!self.sound.is_empty())
    }
}
