//! Which of a source's pictures goes with the MP3.

use id3::frame::{Picture, PictureType};

/// A larger picture is left out.
pub(super) const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What a picture shows, as libav calls it, in the order of ID3's numbers.
///
/// Source: ID3v2.3 section 4.15; FFmpeg's `ff_id3v2_picture_types`.
const TYPES: [(&str, PictureType); 21] = [
    ("Other", PictureType::Other),
    ("32x32 pixels 'file icon'", PictureType::Icon),
    ("Other file icon", PictureType::OtherIcon),
    ("Cover (front)", PictureType::CoverFront),
    ("Cover (back)", PictureType::CoverBack),
    ("Leaflet page", PictureType::Leaflet),
    ("Media (e.g. label side of CD)", PictureType::Media),
    ("Lead artist/lead performer/soloist", PictureType::LeadArtist),
    ("Artist/performer", PictureType::Artist),
    ("Conductor", PictureType::Conductor),
    ("Band/Orchestra", PictureType::Band),
    ("Composer", PictureType::Composer),
    ("Lyricist/text writer", PictureType::Lyricist),
    ("Recording Location", PictureType::RecordingLocation),
    ("During recording", PictureType::DuringRecording),
    ("During performance", PictureType::DuringPerformance),
    ("Movie/video screen capture", PictureType::ScreenCapture),
    ("A bright coloured fish", PictureType::BrightFish),
    ("Illustration", PictureType::Illustration),
    ("Band/artist logotype", PictureType::BandLogo),
    ("Publisher/Studio logotype", PictureType::PublisherLogo),
];

/// What a source says of one of its pictures: keys and values of its stream.
pub(super) type Description = [(Vec<u8>, Vec<u8>)];

/// How good a picture is as the cover; the smallest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Marked as the front cover.
    Front,
    /// Not marked, or as anything.
    Unmarked,
    /// A smaller copy, or a picture of something else.
    Other,
}

/// The best picture so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cover(Option<(Rank, Picture)>);

impl Cover {
    /// Takes a picture if it is better than the one there is. False where it would be, but is too large.
    pub(super) fn offer(&mut self, bytes: &[u8], description: &Description) -> bool {
        let Some(mime_type) = mime_type(bytes) else {
            return true;
        };
        let (rank, picture_type) = judge(description);
        if self.0.as_ref().is_some_and(|(best, _)| *best <= rank) {
            return true;
        }
        if bytes.len() > MOST_BYTES {
            return false;
        }
        let picture = Picture {
            mime_type: mime_type.to_owned(),
            picture_type,
            description: String::new(),
            data: bytes.to_vec(),
        };
        self.0 = Some((rank, picture));
        true
    }

    /// Takes a WebP picture that is marked by ID3's number, if it is better than the one there is.
    pub(super) fn offer_webp(&mut self, bytes: &[u8], number: u32) {
        let mark = usize::try_from(number).ok().and_then(|number| TYPES.get(number));
        let mark = mark.map_or("", |(name, _)| *name);
        self.offer(bytes, &[(b"comment".to_vec(), mark.as_bytes().to_vec())]);
    }

    /// Takes another's picture if it is better than the one there is.
    pub(super) fn or_better(&mut self, other: Self) {
        if let Some((rank, picture)) = other.0
            && self.0.as_ref().is_none_or(|(best, _)| rank < *best)
        {
            self.0 = Some((rank, picture));
        }
    }

    /// The best there was.
    pub(super) fn into_picture(self) -> Option<Picture> {
        self.0.map(|(_, picture)| picture)
    }
}

/// What a picture shows by what its source says of it, and what that makes of it. What is not marked is the front
/// cover.
///
/// ID3, FLAC, Ogg and ASF say it in libav's comment, APE in the name of the entry, Matroska in the name of the file
/// (<https://www.matroska.org/technical/attachments.html>), MP4 not at all.
fn judge(description: &Description) -> (Rank, PictureType) {
    let get = |wanted: &[u8]| {
        let mut all = description.iter();
        all.find(|(key, _)| key.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| &**value)
    };
    let name_of_file = get(b"filename").unwrap_or_default();
    let marked = get(b"comment").and_then(|mark| TYPES.iter().find(|(name, _)| name.as_bytes() == mark));
    match marked {
        Some((_, PictureType::CoverFront)) => (Rank::Front, PictureType::CoverFront),
        Some((_, PictureType::Other)) => (Rank::Unmarked, PictureType::CoverFront),
        Some((_, other)) => (Rank::Other, *other),
        None if get(b"cover art (front)").is_some() => (Rank::Front, PictureType::CoverFront),
        None if get(b"cover art (back)").is_some() => (Rank::Other, PictureType::CoverBack),
        None if name_of_file.starts_with(b"cover.") => (Rank::Front, PictureType::CoverFront),
        None if name_of_file.starts_with(b"small_cover") || name_of_file.starts_with(b"cover_land") => {
            (Rank::Other, PictureType::CoverFront)
        }
        None => (Rank::Unmarked, PictureType::CoverFront),
    }
}

/// The kind of a picture, by how it begins.
fn mime_type(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "image/bmp",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "image/tiff",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0 and so on";

    /// What is taken of pictures that say this of themselves; each has its number for a last byte.
    fn taken(marks: &[(&str, &str)]) -> Option<(u8, PictureType)> {
        let mut cover = Cover::default();
        for (number, (key, value)) in (0..).zip(marks) {
            let description = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
            assert!(cover.offer(&[JPEG, &[number]].concat(), &description));
        }
        let picture = cover.into_picture()?;
        Some((*picture.data.last()?, picture.picture_type))
    }

    #[test]
    fn the_front_cover_is_the_one_marked_so_wherever_it_stands() {
        use PictureType::{CoverBack, CoverFront, Leaflet};
        for (marks, expected) in [
            (
                &[("comment", "Cover (back)"), ("comment", "Cover (front)")][..],
                (1, CoverFront),
            ),
            (
                &[("comment", "Cover (front)"), ("comment", "Cover (front)")],
                (0, CoverFront),
            ),
            (&[("comment", "Leaflet page"), ("comment", "Other")], (1, CoverFront)),
            (&[("title", "nice"), ("title", "also")], (0, CoverFront)),
            (
                &[("comment", "nonsense"), ("comment", "Cover (front)")],
                (1, CoverFront),
            ),
            (&[("comment", "Cover (back)")], (0, CoverBack)),
            (
                &[("comment", "Leaflet page"), ("comment", "Cover (back)")],
                (0, Leaflet),
            ),
            (
                &[("Cover Art (Back)", "b.jpg"), ("Cover Art (Front)", "f.jpg")],
                (1, CoverFront),
            ),
            (
                &[("filename", "small_cover.jpg"), ("filename", "cover.jpg")],
                (1, CoverFront),
            ),
            (
                &[("filename", "cover_land.jpg"), ("filename", "back.jpg")],
                (1, CoverFront),
            ),
        ] {
            assert_eq!(taken(marks), Some(expected), "{marks:?}");
        }
        assert_eq!(taken(&[]), None);
    }

    #[test]
    fn only_pictures_that_players_show_are_taken() {
        for (bytes, expected) in [
            (JPEG, Some("image/jpeg")),
            (b"\x89PNG\r\n\x1a\nlater", Some("image/png")),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"GIF89a....", Some("image/gif")),
            (b"BM\x46\0\0\0\0\0\0\0", Some("image/bmp")),
            (b"MM\0*....", Some("image/tiff")),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"<svg onload=alert(1)>", None),
            (b"\0\x01\0\0 a font", None),
            (b"", None),
        ] {
            let mut cover = Cover::default();
            assert!(cover.offer(bytes, &[]));
            let picture = cover.into_picture();
            assert_eq!(
                picture.as_ref().map(|picture| &*picture.mime_type),
                expected,
                "{}",
                bytes.escape_ascii()
            );
            assert!(picture.is_none_or(|picture| picture.data == bytes));
        }
    }

    #[test]
    fn a_picture_that_is_too_large_is_left_out_and_another_taken() {
        let large = [JPEG, &vec![0; MOST_BYTES]].concat();
        let front = [(b"comment".to_vec(), b"Cover (front)".to_vec())];
        let mut cover = Cover::default();
        assert!(!cover.offer(&large, &front));
        assert!(cover.offer(JPEG, &[]));
        assert!(!cover.offer(&large, &front));
        assert_eq!(cover.into_picture().unwrap().data, JPEG);
    }
}
