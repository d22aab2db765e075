//! From a container's index to what must be read of the file.

use ffmpeg_next as ff;
use ffmpeg_next::format::stream::Stream;

use crate::boxes::Layout;
use crate::choice::is_audio;
use crate::raw;
use crate::sparse::Plan;

/// How libav calls the containers whose index tells where each sample is.
pub(crate) const MOV: &str = "mov,mp4,m4a,3gp,3g2,mj2";
const AVI: &str = "avi";

/// Finds out which parts of a file need not be fetched.
pub(crate) struct Planner {
    /// Of an MP4.
    pub(crate) layout: Layout,
    /// The file's, where it can be read from any position.
    pub(crate) length: Option<u64>,
}

impl Planner {
    /// Whether the container's index tells where each sample is.
    fn is_indexed(&self, demuxer: &ff::format::context::Input) -> bool {
        let format = demuxer.format();
        let is_whole_mov = format.name() == MOV && self.layout == Layout::Whole;
        // DV inside an AVI: the sound is inside the frames, and its streams appear only when those are read.
        let is_complete = !raw::has_streams_to_come(demuxer);
        self.length.is_some() && is_complete && (is_whole_mov || format.name() == AVI)
    }

    /// Whether the container's header tells all that is needed to choose and decode an audio stream, so that nobody
    /// needs to look into the data.
    pub(crate) fn is_known(&self, demuxer: &ff::format::context::Input) -> bool {
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
    pub(crate) fn has_exact_places(&self, demuxer: &ff::format::context::Input, stream: &Stream<'_>) -> bool {
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
    pub(crate) fn of(
        &self,
        demuxer: &ff::format::context::Input,
        wanted: impl Fn(&Stream<'_>) -> bool,
    ) -> Option<Plan> {
        if !self.is_indexed(demuxer) {
            return None;
        }
        let length = self.length?;
        let (wanted, unwanted): (Vec<_>, Vec<_>) = demuxer.streams().partition(wanted);
        if demuxer.format().name() == AVI {
            let numbers = wanted.iter().map(Stream::index).collect();
            Plan::of_chunks(numbers, Places::of(&wanted), Places::of(&unwanted), length)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;
    use std::ops::ControlFlow;
    use std::time::Duration;

    use super::*;
    use crate::Source;
    use crate::input::open::{OPTIONS, open_demuxer};
    use crate::reader::Reader;
    use crate::watch::Watch;

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
