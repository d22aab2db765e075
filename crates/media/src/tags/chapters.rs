//! The chapters of a source, as they lie in the MP3.
//!
//! Source: "ID3v2 Chapter Frame Addendum" 1.0 (id3.org).

use std::ops::Range;
use std::time::Duration;

use id3::Frame;
use id3::frame::{Chapter, TableOfContents};

use super::{LINE_CHARACTERS, encoding, text};

/// How many there may be: their number is one byte in the table of contents. Those behind are left out.
const MOST: usize = 255;

/// That the place of a chapter in the file is not told, only its time.
const BY_TIME: u32 = u32::MAX;

/// A chapter of a source, on its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceChapter {
    pub(crate) start: Duration,
    /// Where it ends, where the source tells it.
    pub(crate) end: Option<Duration>,
    /// Its title, of any bytes.
    pub(crate) title: Option<Vec<u8>>,
}

/// The frames for the chapters of which something lies in `part` of the source, from its beginning on, and how many of
/// them are left out. A chapter without an end goes on to the next, and the last one to `end_of_source`.
pub(super) fn frames(
    mut chapters: Vec<SourceChapter>,
    part: &Range<Duration>,
    end_of_source: Option<Duration>,
) -> (Vec<Frame>, u32) {
    chapters.sort_by_key(|chapter| chapter.start);
    let starts: Vec<Duration> = chapters.iter().map(|chapter| chapter.start).collect();
    let mut frames: Vec<Frame> = Vec::new();
    let mut left_out = 0;
    for (number, chapter) in (1..).zip(chapters) {
        let next = starts.get(number).copied().or(end_of_source);
        let end = chapter.end.or(next).unwrap_or(chapter.start).max(chapter.start);
        let is_inside = chapter.start < part.end && (end > part.start || chapter.start >= part.start);
        if !is_inside {
            continue;
        }
        if frames.len() == MOST {
            left_out += 1;
            continue;
        }
        let within = |position: Duration| {
            let position = position.clamp(part.start, part.end) - part.start;
            u32::try_from((position.as_micros() + 500) / 1000).unwrap_or(u32::MAX - 1)
        };
        let title = chapter
            .title
            .and_then(|title| text::line(&text::text(&title), LINE_CHARACTERS));
        frames.push(Frame::from(Chapter {
            element_id: format!("ch{}", frames.len()),
            start_time: within(chapter.start),
            end_time: within(end),
            start_offset: BY_TIME,
            end_offset: BY_TIME,
            frames: title.map(titled).into_iter().collect(),
        }));
    }
    if !frames.is_empty() {
        frames.insert(0, contents(frames.len()));
    }
    (frames, left_out)
}

fn titled(title: String) -> Frame {
    let encoding = encoding(&title);
    Frame::text("TIT2", title).set_encoding(Some(encoding))
}

/// The table of contents: without one that is marked as the topmost, players show no chapters.
fn contents(count: usize) -> Frame {
    Frame::from(TableOfContents {
        element_id: "toc".to_owned(),
        top_level: true,
        ordered: true,
        elements: (0..count).map(|number| format!("ch{number}")).collect(),
        frames: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use id3::frame::Content;

    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn chapter(start_ms: u64, end_ms: Option<u64>, title: &[u8]) -> SourceChapter {
        SourceChapter {
            start: at(start_ms),
            end: end_ms.map(at),
            title: Some(title.to_vec()),
        }
    }

    /// From when to when the chapters go, and their titles; how many are left out.
    fn shown(
        chapters: &[SourceChapter],
        part: &Range<Duration>,
        end_of_source: Option<Duration>,
    ) -> (Vec<(u32, u32, String)>, u32) {
        let (frames, left_out) = frames(chapters.to_vec(), part, end_of_source);
        let chapters = frames.iter().filter_map(|frame| match frame.content() {
            Content::Chapter(chapter) => {
                let title = chapter.frames.first().and_then(|frame| frame.content().text());
                Some((
                    chapter.start_time,
                    chapter.end_time,
                    title.unwrap_or_default().to_owned(),
                ))
            }
            _ => None,
        });
        (chapters.collect(), left_out)
    }

    #[test]
    fn a_chapter_without_an_end_goes_on_to_the_next_whatever_their_order() {
        let chapters = [
            chapter(2_000, None, b"two"),
            chapter(0, None, b"one"),
            chapter(5_000, None, b"three"),
        ];
        let (all, _) = shown(&chapters, &(at(0)..Duration::MAX), Some(at(9_000)));
        let expected = [(0, 2_000, "one"), (2_000, 5_000, "two"), (5_000, 9_000, "three")];
        assert_eq!(all, expected.map(|(start, end, title)| (start, end, title.to_owned())));
        let (all, _) = shown(&chapters, &(at(0)..Duration::MAX), None);
        assert_eq!(all[2], (5_000, 5_000, "three".to_owned()), "whose end nobody knows");
    }

    #[test]
    fn only_what_lies_in_the_part_is_told_from_its_beginning_on() {
        let chapters = [
            chapter(0, Some(1_000), b"before"),
            chapter(1_000, Some(3_000), b"into"),
            chapter(3_000, Some(4_000), b"inside"),
            chapter(4_000, Some(9_000), b"out of"),
            chapter(9_000, Some(9_500), b"behind"),
        ];
        let (all, left_out) = shown(&chapters, &(at(1_500)..at(9_000)), None);
        let expected = [(0, 1_500, "into"), (1_500, 2_500, "inside"), (2_500, 7_500, "out of")];
        assert_eq!(all, expected.map(|(start, end, title)| (start, end, title.to_owned())));
        assert_eq!(left_out, 0);
    }

    #[test]
    fn titles_are_cleaned_and_the_number_of_chapters_is_bounded() {
        let chapters: Vec<_> = (0..300)
            .map(|number| chapter(number, Some(number + 1), b"a\0\nb\xe9\x1b"))
            .collect();
        let (all, left_out) = shown(&chapters, &(at(0)..Duration::MAX), None);
        assert_eq!((all.len(), left_out), (MOST, 45));
        assert_eq!(all[0].2, "a bé");
        assert_eq!(frames(Vec::new(), &(at(0)..Duration::MAX), None), (Vec::new(), 0));
    }

    #[test]
    fn numbers_that_no_file_should_hold_harm_nothing() {
        let chapters = [
            SourceChapter {
                start: Duration::MAX,
                end: Some(Duration::ZERO),
                title: None,
            },
            chapter(5_000, Some(1_000), b"backwards"),
        ];
        let (all, _) = shown(&chapters, &(at(0)..Duration::MAX), None);
        assert_eq!(all[0], (5_000, 5_000, "backwards".to_owned()));
    }
}
