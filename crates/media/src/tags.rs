//! What a source says of itself, as the ID3v2 tag at the start of the MP3.
//!
//! Version 2.3 with text in Latin-1 or UTF-16: all that cars, televisions and old players know. Version 2.4 has UTF-8 and
//! says nothing that is missed here.
//! Source: "ID3 tag version 2.3.0" (id3.org).

use id3::frame::{Comment, Picture, PictureType};
use id3::{Encoding, Frame, Tag, TagLike as _, Version};

/// A longer text is cut off here.
const TEXT_CHARACTERS: usize = 500;

/// A longer comment is cut off here.
const COMMENT_CHARACTERS: usize = 4_000;

/// A larger picture is left out.
const COVER_BYTES: usize = 4 * 1024 * 1024;

/// Keys and values of a container or a stream, as they are in the file.
pub(crate) type Description = [(Vec<u8>, Vec<u8>)];

/// What a source says of itself, in text that can be shown.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tags {
    title: Option<String>,
    artist: Option<String>,
    album: Option<String>,
    /// Year, and month with day where they are known: four digits each.
    date: Option<(String, Option<String>)>,
    /// A number, or a number of how many.
    track: Option<String>,
    comment: Option<String>,
    /// ISO 639-2.
    language: Option<String>,
    cover: Option<Cover>,
}

#[derive(Debug, PartialEq)]
struct Cover {
    mime_type: &'static str,
    bytes: Vec<u8>,
}

impl Tags {
    /// Takes over what is not known yet.
    pub(crate) fn add(&mut self, description: &Description) {
        let get = |key: &str| {
            let found = description
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key.as_bytes()));
            found.map(|(_, value)| text(value))
        };
        let short = |key: &str| get(key).and_then(|text| shown(&text, TEXT_CHARACTERS));
        fill(&mut self.title, short("title"));
        fill(&mut self.artist, short("artist"));
        fill(&mut self.album, short("album"));
        fill(&mut self.date, short("date").as_deref().and_then(date));
        fill(&mut self.track, short("track").filter(|text| is_track(text)));
        fill(
            &mut self.comment,
            get("comment").and_then(|text| shown(&text, COMMENT_CHARACTERS)),
        );
    }

    /// The language of the audio, by its code.
    pub(crate) fn set_language(&mut self, code: [u8; 3]) {
        self.language = str::from_utf8(&code).ok().map(str::to_owned);
    }

    /// The first picture that is one, and not too large, becomes the cover.
    pub(crate) fn add_picture(&mut self, bytes: &[u8]) {
        let mime_type = match bytes {
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
            _ => return,
        };
        if self.cover.is_none() && bytes.len() <= COVER_BYTES {
            self.cover = Some(Cover {
                mime_type,
                bytes: bytes.to_vec(),
            });
        }
    }

    /// This is the title where there is none.
    pub(crate) fn title_or(&mut self, title: &str) {
        fill(&mut self.title, shown(title, TEXT_CHARACTERS));
    }

    /// The whole tag. Nothing where there is nothing to tell.
    ///
    /// # Errors
    /// None that are known: the text is text, and the lengths are bounded.
    pub(crate) fn to_bytes(&self) -> id3::Result<Vec<u8>> {
        let mut tag = Tag::with_version(Version::Id3v23);
        let mut add = |id: &str, text: Option<&String>| {
            if let Some(text) = text {
                tag.add_frame(Frame::text(id, text.as_str()).set_encoding(Some(encoding(text))));
            }
        };
        add("TIT2", self.title.as_ref());
        add("TPE1", self.artist.as_ref());
        add("TALB", self.album.as_ref());
        add("TYER", self.date.as_ref().map(|(year, _)| year));
        add("TDAT", self.date.as_ref().and_then(|(_, day)| day.as_ref()));
        add("TRCK", self.track.as_ref());
        add("TLAN", self.language.as_ref());
        if let Some(text) = &self.comment {
            let comment = Comment {
                // Not the audio's: nobody knows in which language it is described, and ID3v2.4 (4.10) has this code for that.
                lang: "XXX".to_owned(),
                description: String::new(),
                text: text.clone(),
            };
            tag.add_frame(Frame::from(comment).set_encoding(Some(encoding(text))));
        }
        if let Some(cover) = &self.cover {
            let picture = Picture {
                mime_type: cover.mime_type.to_owned(),
                picture_type: PictureType::CoverFront,
                description: String::new(),
                data: cover.bytes.clone(),
            };
            tag.add_frame(Frame::from(picture).set_encoding(Some(Encoding::Latin1)));
        }
        let mut bytes = Vec::new();
        if tag.frames().next().is_some() {
            tag.write_to(&mut bytes, Version::Id3v23)?;
        }
        Ok(bytes)
    }
}

fn fill<T>(place: &mut Option<T>, found: Option<T>) {
    if place.is_none() {
        *place = found;
    }
}

/// Everything understands Latin-1; beyond ASCII too many take it for something else.
fn encoding(text: &str) -> Encoding {
    if text.is_ascii() {
        Encoding::Latin1
    } else {
        Encoding::UTF16
    }
}

/// UTF-8, or else Latin-1, as old containers have it.
fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// One line of at most so many characters; None where nothing is left.
fn shown(text: &str, most_characters: usize) -> Option<String> {
    let visible = |letter: char| if letter.is_whitespace() { ' ' } else { letter };
    let letters = text.chars().map(visible).filter(|letter| !letter.is_control());
    let line: String = letters
        .skip_while(|letter| *letter == ' ')
        .take(most_characters)
        .collect();
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Year, and month with day turned round as ID3v2.3 wants it, of a date that begins as in ISO 8601.
fn date(text: &str) -> Option<(String, Option<String>)> {
    let digits = |range| {
        text.get(range)
            .filter(|part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let year = digits(0..4)?;
    let is_date = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let day = digits(5..7).zip(digits(8..10)).filter(|_| is_date);
    Some((year.to_owned(), day.map(|(month, day)| format!("{day}{month}"))))
}

fn is_track(text: &str) -> bool {
    let (number, total) = text.split_once('/').unwrap_or((text, "0"));
    [number, total]
        .iter()
        .all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(entries: &[(&str, &[u8])]) -> Tags {
        let description: Vec<_> = entries
            .iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec()))
            .collect();
        let mut tags = Tags::default();
        tags.add(&description);
        tags
    }

    fn read_back(tags: &Tags) -> Tag {
        Tag::read_from2(std::io::Cursor::new(tags.to_bytes().unwrap())).unwrap()
    }

    #[test]
    fn text_of_any_kind_is_read_back() {
        let title = "Ströme 流れ 🎵 \u{10ffff}";
        let tag = read_back(&tags(&[
            ("TITLE", title.as_bytes()),
            ("artist", b"Plain"),
            ("album", b"Latin \xe9\xe8"),
            ("date", b"2024-05-01T10:00:00Z"),
            ("track", b"3/12"),
            ("comment", "über".as_bytes()),
        ]));
        assert_eq!(tag.title(), Some(title));
        assert_eq!(tag.artist(), Some("Plain"));
        assert_eq!(tag.album(), Some("Latin éè"));
        assert_eq!(
            (tag.track(), tag.total_tracks(), tag.year()),
            (Some(3), Some(12), Some(2024))
        );
        assert_eq!(tag.get("TDAT").and_then(|frame| frame.content().text()), Some("0105"));
        assert_eq!(tag.comments().next().unwrap().text, "über");
    }

    #[test]
    fn hostile_text_is_cleaned_and_bounded() {
        let long = "é".repeat(1_000_000);
        let tags = tags(&[
            ("title", long.as_bytes()),
            ("artist", b"\0\x01\x1b[31mred\x07\n"),
            ("album", b"\xff\xfe\x00\x80"),
            ("comment", long.as_bytes()),
            ("date", b"soon"),
            ("track", b"1; drop table"),
        ]);
        assert_eq!(tags.title.as_ref().unwrap().chars().count(), TEXT_CHARACTERS);
        assert_eq!(tags.artist.as_deref(), Some("[31mred"));
        assert_eq!(tags.album.as_deref(), Some("ÿþ"));
        assert_eq!((&tags.date, &tags.track), (&None, &None));
        assert!(tags.to_bytes().unwrap().len() < 20_000);
        read_back(&tags);
    }

    #[test]
    fn only_jpeg_and_png_of_a_sane_size_become_the_cover() {
        let jpeg = [&[0xff, 0xd8, 0xff, 0xe0][..], &[0xff, 0xfb, 0x90, 0x64].repeat(100)].concat();
        let mut tags = Tags::default();
        tags.add_picture(b"<svg onload=alert(1)>");
        tags.add_picture(&[&jpeg[..], &vec![0; COVER_BYTES]].concat());
        tags.add_picture(&jpeg);
        tags.add_picture(b"\x89PNG\r\n\x1a\nlater");
        let tag = read_back(&tags);
        let pictures: Vec<&Picture> = tag.pictures().collect();
        assert_eq!(pictures.len(), 1);
        assert_eq!(
            (pictures[0].mime_type.as_str(), &pictures[0].data),
            ("image/jpeg", &jpeg)
        );
    }

    #[test]
    fn the_title_that_is_given_counts_where_there_is_no_other() {
        let mut untitled = Tags::default();
        untitled.title_or(" Mr. Smith talks ");
        assert_eq!(untitled.title.as_deref(), Some("Mr. Smith talks"));
        let mut titled = tags(&[("title", b"Its own")]);
        titled.title_or("holiday");
        assert_eq!(titled.title.as_deref(), Some("Its own"));
    }

    #[test]
    fn nothing_to_tell_is_no_tag() {
        assert!(Tags::default().to_bytes().unwrap().is_empty());
        assert!(tags(&[("title", b" \0 ")]).to_bytes().unwrap().is_empty());
    }
}
