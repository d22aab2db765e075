//! The tag of the MP3: what the source says of itself.

use std::time::Duration;

use ffmpeg_next::Rational;

use super::Input;
use crate::choice::language_of;
use crate::clock::{Clock, Moment};
use crate::settings::Gaps;
use crate::tags::{SourceChapter, Tags};
use crate::{ConvertError, Note, Settings, length, raw};

/// How libav calls the container that describes its streams, not itself.
const OGG: &str = "ogg";

/// How libav calls the format whose chapters count from the first sample that is heard, and whose timestamps from the
/// first that is decoded.
const MP3: &str = "mp3";

impl Input {
    /// The tag for the part that `settings` name: what the source says of itself, with their title where it has none.
    /// To be called when the first sound is known.
    ///
    /// # Errors
    /// The tag cannot be made.
    pub(crate) fn tag(&mut self, settings: &Settings, late: Duration) -> Result<Vec<u8>, ConvertError> {
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
        if let Some(title) = &settings.title {
            tags.title_or(title);
        }
        // What is left out later is not known yet.
        let left_out = if settings.gaps == Gaps::Drop {
            late
        } else {
            Duration::ZERO
        };
        let start = settings.start.unwrap_or_default().max(left_out);
        let part = start..settings.end.unwrap_or(Duration::MAX).max(start);
        tags.add_chapters(self.chapters(), &part, self.end_of_source());
        if tags.left_out() > 0 {
            self.notes.push(Note::TagsLeftOut { count: tags.left_out() });
        }
        tags.into_bytes()
            .map_err(|error| ConvertError::internal("writing the tag", error))
    }

    /// The chapters, on the source's clock.
    fn chapters(&self) -> Vec<SourceChapter> {
        let of_tag = Moment::of(0, Rational(1, 1)).map(Clock::from_zero);
        let clock = self.clock().filter(|_| self.demuxer.format().name() != MP3).or(of_tag);
        let found = raw::chapters(&self.demuxer).into_iter();
        let chapters = found.filter_map(|found| {
            let position = |timestamp| Some(clock?.position(Moment::of(timestamp, found.time_base)?));
            Some(SourceChapter {
                start: position(found.start?)?,
                end: found.end.and_then(position),
                title: found.title,
            })
        });
        chapters.collect()
    }

    /// Where the file ends, or else its sound, if the container tells it.
    fn end_of_source(&self) -> Option<Duration> {
        length::of_container(&self.demuxer).or(self.declared)
    }
}
