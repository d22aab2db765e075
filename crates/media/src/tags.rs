//! What a source says of itself, as the ID3v2 tag at the start of the MP3.
//!
//! Version 2.3 with text in Latin-1 or UTF-16: all that cars, televisions and old players know. Version 2.4 has UTF-8
//! and says nothing that is missed here.
//! Source: "ID3 tag version 2.3.0" (id3.org).

mod chapters;
mod cover;
mod fields;
mod text;
mod webp;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use id3::frame::{Comment, ExtendedText, Lyrics, Private};
use id3::{Encoding, Frame, Tag, TagLike as _, Version};

pub(crate) use chapters::SourceChapter;
pub(crate) use cover::Cover;
use fields::Entry;
pub(crate) use webp::look_for_webp;

/// A longer line is cut off here.
const LINE_CHARACTERS: usize = 500;

/// Longer remarks, lyrics and free fields are cut off here.
const LINES_CHARACTERS: usize = 50_000;

/// When so much text stands in the tag, what follows is left out: free fields, in the order of the source.
const TEXT_BYTES: usize = 1024 * 1024;

/// A longer name of a free field is cut off here.
const NAME_CHARACTERS: usize = 100;

/// How many free fields there may be.
const MOST_FREE_FIELDS: usize = 500;

/// Before a private field's owner, as libav names its entry.
const PRIVATE: &str = "id3v2_priv.";

/// That a language is not known.
///
/// Source: ID3v2.4 section 4 ("xxx"; version 2.3 has no code for it), spelt as most programs write it.
const NO_LANGUAGE: [u8; 3] = *b"XXX";

/// Frames that stand in the tag as free fields of this name too: programs that read tags with libav, which are many,
/// look for them under it, and libav itself writes them so.
const READ_BY_NAME: [(&str, &str); 2] = [("TBPM", "bpm"), ("TSRC", "isrc")];

/// Keys and values of a container or a stream, as they are in the file.
pub(crate) type Description = [(Vec<u8>, Vec<u8>)];

/// What a source says of itself, in text that can be shown.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// The text of each frame that has a line of it.
    lines: BTreeMap<&'static str, String>,
    comment: Option<String>,
    /// What is sung, and its language by ISO 639-2.
    lyrics: Option<(String, [u8; 3])>,
    /// What ID3 has no frame for, by its name.
    free: BTreeMap<String, String>,
    /// What programs keep for themselves, by its owner.
    private: BTreeMap<String, Vec<u8>>,
    cover: Cover,
    /// The table of contents, and the chapters.
    chapters: Vec<Frame>,
    /// How much text there is.
    text_bytes: usize,
    /// How many fields, pictures and chapters were left out for their size, or because there are too many.
    left_out: u32,
}

impl Tags {
    /// Takes over what is not known yet.
    pub(crate) fn add(&mut self, description: &Description) {
        let mut entries: Vec<Entry> = description.iter().filter_map(entry).collect();
        for field in fields::LINES {
            if let Some(entry) = take(&mut entries, field.names) {
                self.set_line(field.frame, &entry.text);
            }
        }
        if let Some(entry) = take(&mut entries, fields::LANGUAGE) {
            self.set_line("TLAN", &entry.text);
        }
        self.add_number("TRCK", &mut entries, fields::TRACK, fields::TRACKS);
        self.add_number("TPOS", &mut entries, fields::DISC, fields::DISCS);
        self.add_date(&mut entries);
        if let Some(entry) = take(&mut entries, fields::COMMENT) {
            let comment = text::lines(&entry.text, LINES_CHARACTERS);
            self.text_bytes += comment.as_ref().map_or(0, String::len);
            fill(&mut self.comment, comment);
        }
        if let Some(entry) = take(&mut entries, fields::LYRICS) {
            let lyrics = text::lines(&entry.text, LINES_CHARACTERS);
            self.text_bytes += lyrics.as_ref().map_or(0, String::len);
            fill(
                &mut self.lyrics,
                lyrics.map(|text| (text, entry.language.unwrap_or(NO_LANGUAGE))),
            );
        }
        for entry in entries {
            self.add_other(&entry);
        }
    }

    /// A number, or a number of how many.
    fn add_number(&mut self, frame: &'static str, entries: &mut Vec<Entry>, names: &[&str], totals: &[&str]) {
        let Some(entry) = take(entries, names) else {
            return;
        };
        let (number, total) = entry.text.split_once('/').unwrap_or((&entry.text, ""));
        let (number, total) = (number.trim(), total.trim());
        if !is_number(number) || !(total.is_empty() || is_number(total)) {
            return self.add_other(&entry);
        }
        let other_total = take(entries, totals).filter(|_| total.is_empty());
        let total = other_total.as_ref().map_or(total, |entry| entry.text.trim());
        if is_number(total) && total.bytes().any(|digit| digit != b'0') {
            self.set_line(frame, &format!("{number}/{total}"));
        } else {
            self.set_line(frame, number);
        }
    }

    /// The first date that is one.
    fn add_date(&mut self, entries: &mut Vec<Entry>) {
        for name in fields::DATE {
            let is_date = |entry: &Entry| entry.name == *name && date(&entry.text).is_some();
            let Some(at) = entries.iter().position(is_date) else {
                continue;
            };
            if let Some((year, day)) = date(&entries.remove(at).text)
                && !self.lines.contains_key("TYER")
            {
                self.set_line("TYER", &year);
                if let Some(day) = day {
                    self.set_line("TDAT", &day);
                }
            }
            return;
        }
    }

    /// What has no place of its own: what came from another frame of ID3, and free fields.
    fn add_other(&mut self, entry: &Entry) {
        if let Some(frame) = entry.frame() {
            return self.set_line(frame, &entry.text);
        }
        if self.free.len() + self.private.len() >= MOST_FREE_FIELDS || self.text_bytes > TEXT_BYTES {
            self.left_out += 1;
            return;
        }
        let owner = entry.key.strip_prefix(PRIVATE);
        let value = match owner {
            Some(_) => Some(entry.text.clone()),
            None => text::lines(&entry.text, LINES_CHARACTERS),
        };
        let Some(value) = value else {
            return;
        };
        self.text_bytes += entry.key.len() + value.len();
        if self.text_bytes > TEXT_BYTES {
            self.left_out += 1;
        } else if let Some(owner) = owner {
            self.private.insert(owner.to_owned(), unescaped(&value));
        } else {
            self.free.entry(entry.key.clone()).or_insert(value);
        }
    }

    fn set_line(&mut self, frame: &'static str, text: &str) {
        if let Some(text) = text::line(text, LINE_CHARACTERS) {
            self.lines.entry(frame).or_insert(text);
        }
    }

    /// The language of the audio, by its code.
    pub(crate) fn set_language(&mut self, code: [u8; 3]) {
        self.lines.insert("TLAN", code.map(char::from).iter().collect());
    }

    /// A picture of the source, and what that says of it.
    pub(crate) fn add_picture(&mut self, bytes: &[u8], description: &Description) {
        if !self.cover.offer(bytes, description) {
            self.left_out += 1;
        }
    }

    /// A picture that was found elsewhere, if it is better than those that were added.
    pub(crate) fn add_cover(&mut self, cover: Cover) {
        self.cover.or_better(cover);
    }

    /// The chapters of which something lies in `part` of the source, on its clock. One without an end goes on to the
    /// next, and the last one to `end_of_source`.
    pub(crate) fn add_chapters(
        &mut self,
        chapters: Vec<SourceChapter>,
        part: &Range<Duration>,
        end_of_source: Option<Duration>,
    ) {
        let left_out;
        (self.chapters, left_out) = chapters::frames(chapters, part, end_of_source);
        self.left_out += left_out;
    }

    /// This is the title where there is none.
    pub(crate) fn title_or(&mut self, title: &str) {
        self.set_line("TIT2", title);
    }

    /// How many fields, pictures and chapters are not in the tag since they are too large or too many.
    pub(crate) fn left_out(&self) -> u32 {
        self.left_out
    }

    /// The whole tag. Nothing where there is nothing to tell.
    ///
    /// # Errors
    /// None that are known: the text is text, and the lengths are bounded.
    pub(crate) fn into_bytes(self) -> id3::Result<Vec<u8>> {
        let mut tag = Tag::with_version(Version::Id3v23);
        for (frame, text) in &self.lines {
            tag.add_frame(Frame::text(*frame, text.as_str()).set_encoding(Some(encoding(text))));
        }
        if let Some(text) = self.comment {
            let encoding = encoding(&text);
            let comment = Comment {
                // Not the audio's: nobody knows in which language it is described.
                lang: NO_LANGUAGE.map(char::from).iter().collect(),
                description: String::new(),
                text,
            };
            tag.add_frame(Frame::from(comment).set_encoding(Some(encoding)));
        }
        if let Some((text, language)) = self.lyrics {
            let encoding = encoding(&text);
            let lyrics = Lyrics {
                lang: language.map(char::from).iter().collect(),
                description: String::new(),
                text,
            };
            tag.add_frame(Frame::from(lyrics).set_encoding(Some(encoding)));
        }
        let known_by_name = READ_BY_NAME.into_iter().filter_map(|(frame, name)| {
            let text = self.lines.get(frame)?;
            Some((name.to_owned(), text.clone()))
        });
        for (description, value) in known_by_name.chain(self.free) {
            let encoding = encoding(&format!("{description}{value}"));
            let field = ExtendedText { description, value };
            tag.add_frame(Frame::from(field).set_encoding(Some(encoding)));
        }
        for (owner_identifier, private_data) in self.private {
            tag.add_frame(Frame::from(Private {
                owner_identifier,
                private_data,
            }));
        }
        for frame in self.chapters {
            tag.add_frame(frame);
        }
        if let Some(picture) = self.cover.into_picture() {
            tag.add_frame(Frame::from(picture).set_encoding(Some(Encoding::Latin1)));
        }
        let mut bytes = Vec::new();
        if tag.frames().next().is_some() {
            tag.write_to(&mut bytes, Version::Id3v23)?;
        }
        Ok(bytes)
    }
}

/// A key and value as text, where it tells something of the sound.
fn entry((key, value): &(Vec<u8>, Vec<u8>)) -> Option<Entry> {
    let key = text::line(&text::text(key), NAME_CHARACTERS)?;
    let entry = Entry::new(key, text::text(value));
    let says_something = |letter: char| !letter.is_whitespace() && !letter.is_control();
    (!entry.is_of_the_file() && entry.text.chars().any(says_something)).then_some(entry)
}

/// Takes the entry out that goes by the first of these names that is there, better without a language than with one,
/// and those that say the same under another.
fn take(entries: &mut Vec<Entry>, names: &[&str]) -> Option<Entry> {
    let at = names.iter().find_map(|name| {
        let named = |entry: &Entry| entry.name == *name;
        let plain = entries
            .iter()
            .position(|entry| named(entry) && entry.language.is_none());
        plain.or_else(|| entries.iter().position(named))
    })?;
    let taken = entries.remove(at);
    entries.retain(|entry| entry.text != taken.text || !names.contains(&&*entry.name));
    Some(taken)
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

/// The bytes of a private field, of which libav writes those that are no plain text as `\x` with two hexadecimal
/// digits.
fn unescaped(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let number = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.extend(number);
        bytes.extend_from_slice(&piece.as_bytes()[if number.is_some() { 2 } else { 0 }..]);
    }
    bytes
}

/// Year, and month with day turned round as ID3v2.3 wants it, of a date that begins as in ISO 8601.
fn date(text: &str) -> Option<(String, Option<String>)> {
    let text = text.trim();
    let digits = |range| {
        text.get(range)
            .filter(|part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let year = digits(0..4)?;
    let is_date = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let day = digits(5..7).zip(digits(8..10)).filter(|_| is_date);
    Some((year.to_owned(), day.map(|(month, day)| format!("{day}{month}"))))
}

fn is_number(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
