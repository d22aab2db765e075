//! What the entries of containers are called, and what of ID3 they become.
//!
//! libav has given many of them common names (`WM/AlbumArtist` and `aART` are `album_artist`), but not all, and those
//! of free fields it hands on as they are. Of several names of one thing the first that is there counts.

use super::NO_LANGUAGE;
use crate::language;

/// Something that has a frame of its own in ID3v2.3.
pub(super) struct Field {
    /// Its frame.
    pub(super) frame: &'static str,
    /// What it is called, in the form of [`Entry::name`], the most usual name first.
    pub(super) names: &'static [&'static str],
}

/// The fields with a line of text. The frames of `TCMP`, `TSOA`, `TSOP` and `TSOT` are not in version 2.3, but what
/// reads them at all reads them there.
///
/// Source: ID3v2.3 section 4.2.1; the names are those of FFmpeg's `*_metadata_conv`, and of Vorbis comments, APE, ASF
/// and RIFF INFO where these have none there.
pub(super) const LINES: &[Field] = &[
    field("TIT2", &["title", "song", "tit2"]),
    field("TPE1", &["artist", "author", "tpe1"]),
    field("TALB", &["album", "game", "talb"]),
    field("TPE2", &["album_artist", "albumartist", "tpe2"]),
    field("TPE3", &["performer", "conductor"]),
    field("TCOM", &["composer", "tcom"]),
    field("TCON", &["genre", "tcon"]),
    field("TCOP", &["copyright", "tcop"]),
    field("TPUB", &["publisher", "label", "organization", "tpub"]),
    field("TENC", &["encoded_by", "encodedby"]),
    field("TIT1", &["grouping", "contentgroup", "tit1"]),
    field("TBPM", &["bpm", "tbpm", "tempo", "beatsperminute"]),
    field("TSRC", &["isrc", "tsrc"]),
    field("TCMP", &["compilation", "tcmp", "itunescompilation", "iscompilation"]),
    field("TSOA", &["album_sort", "sort_album", "albumsort", "albumsortorder"]),
    field("TSOP", &["artist_sort", "sort_artist", "artistsort", "artistsortorder"]),
    field("TSOT", &["title_sort", "sort_name", "titlesort", "titlesortorder"]),
];

/// The number of the song, and how many there are.
pub(super) const TRACK: &[&str] = &["track", "tracknumber", "trck"];
/// Where the number does not tell it.
pub(super) const TRACKS: &[&str] = &["tracktotal", "totaltracks", "track_total"];
/// The number of the disc, and how many there are.
pub(super) const DISC: &[&str] = &["disc", "discnumber", "disk", "disknumber", "tpos"];
/// Where the number does not tell it.
pub(super) const DISCS: &[&str] = &["disctotal", "totaldiscs", "disc_total"];
/// When it was made.
pub(super) const DATE: &[&str] = &["date", "year", "date_released", "date_recorded", "tdrc", "tyer"];
/// Remarks, in several lines.
pub(super) const COMMENT: &[&str] = &["comment", "comments"];
/// What is sung, in several lines.
pub(super) const LYRICS: &[&str] = &["lyrics", "unsyncedlyrics", "unsynced_lyrics", "uslt"];
/// The language of what is sung or said.
pub(super) const LANGUAGE: &[&str] = &["language", "tlan"];

/// Text frames of ID3v2.3, and iTunes' own, that libav hands on under their own names.
const FRAMES: [&str; 23] = [
    "GRP1", "MVIN", "MVNM", "TCAT", "TDES", "TEXT", "TGID", "TIT3", "TKEY", "TKWD", "TMED", "TOAL", "TOFN", "TOLY",
    "TOPE", "TORY", "TOWN", "TPE4", "TRDA", "TRSN", "TRSO", "TSO2", "TSOC",
];

/// What tells of the file and not of its sound, and is not true of the MP3: its program, its container, its length.
const OF_THE_FILE: &[&str] = &[
    "application_platform",
    "audiocodecid",
    "audiodatarate",
    "audiosamplerate",
    "audiosamplesize",
    "audiosize",
    "canseektoend",
    "company_name",
    "compatible_brands",
    "coverart",
    "coverartmime",
    "creation_time",
    "datasize",
    "deviceconformancetemplate",
    "duration",
    "encoder",
    "encoding_settings",
    "encodingtime",
    "filesize",
    "framerate",
    "generation_uid",
    "hasaudio",
    "haskeyframes",
    "hasmetadata",
    "hasvideo",
    "height",
    "isvbr",
    "itunsmpb",
    "lastkeyframetimestamp",
    "lasttimestamp",
    "major_brand",
    "material_package_umid",
    "metadata_block_picture",
    "metadatacreator",
    "minor_version",
    "modification_date",
    "operational_pattern_ul",
    "product_name",
    "product_uid",
    "product_version",
    "product_version_num",
    "stereo",
    "tden",
    "tdly",
    "tdtg",
    "tflt",
    "tlen",
    "toolkit_version",
    "toolkit_version_num",
    "tsiz",
    "tsse",
    "uid",
    "videocodecid",
    "videodatarate",
    "videosize",
    "waveformatextensible_channel_mask",
    "width",
    "wmfsdkneeded",
    "wmfsdkversion",
];

const fn field(frame: &'static str, names: &'static [&'static str]) -> Field {
    Field { frame, names }
}

/// A name and a text of a container, as they are shown.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The name as the container has it.
    pub(super) key: String,
    /// The name in lower case, with `_` for what separates words, and without what says whose names they are or in
    /// which language the text is.
    pub(super) name: String,
    /// The language of the text, where the name ends in it.
    pub(super) language: Option<[u8; 3]>,
    /// The text.
    pub(super) text: String,
}

impl Entry {
    pub(super) fn new(key: String, text: String) -> Self {
        const OF_OTHERS: [&str; 4] = ["wm/", "com.apple.quicktime.", "track/", "song/"];
        let lower = key.to_ascii_lowercase();
        let own = OF_OTHERS
            .iter()
            .find_map(|prefix| lower.strip_prefix(prefix))
            .unwrap_or(&lower);
        let suffixed = own
            .rsplit_once('-')
            .and_then(|(name, suffix)| Some((name, language_suffix(suffix)?)));
        let (name, language) = suffixed.map_or((own, None), |(name, code)| (name, Some(code)));
        // libav puts the description of lyrics between their name and their language.
        let name = if name.starts_with("lyrics-") && language.is_some() {
            "lyrics"
        } else {
            name
        };
        let name = name.replace(['-', ' '], "_");
        Self {
            key,
            name,
            language,
            text,
        }
    }

    /// Whether it tells of the file, not of its sound.
    pub(super) fn is_of_the_file(&self) -> bool {
        OF_THE_FILE.binary_search(&&*self.name).is_ok()
    }

    /// The frame it comes from, if it comes from one.
    pub(super) fn frame(&self) -> Option<&'static str> {
        let at = FRAMES.binary_search(&&*self.key).ok()?;
        Some(FRAMES[at])
    }
}

/// The language that the end of a name means; "sort" and "url" are none.
fn language_suffix(suffix: &str) -> Option<[u8; 3]> {
    match suffix {
        "und" | "xxx" => Some(NO_LANGUAGE),
        _ => language::code(suffix).filter(|_| language::is_listed(suffix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_thing_become_one() {
        for (key, name, language) in [
            ("TITLE", "title", None),
            ("Album Artist", "album_artist", None),
            ("album-sort", "album_sort", None),
            ("WM/Year", "year", None),
            ("com.apple.quicktime.title", "title", None),
            ("title-eng", "title", Some(b"eng")),
            ("comment-de", "comment", Some(b"deu")),
            ("lyrics-ger", "lyrics", Some(b"deu")),
            ("lyrics-XXX", "lyrics", Some(b"XXX")),
            ("lyrics-Second verse-eng", "lyrics", Some(b"eng")),
            ("artist-url", "artist_url", None),
            ("-", "_", None),
            ("", "", None),
        ] {
            let entry = Entry::new(key.to_owned(), String::new());
            assert_eq!((&*entry.name, entry.language), (name, language.copied()), "{key}");
        }
    }

    #[test]
    fn the_lists_can_be_searched() {
        assert!(OF_THE_FILE.is_sorted());
        assert!(FRAMES.is_sorted());
    }
}
