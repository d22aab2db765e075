//! Names of files: what of one is its extension, and how one is made to fit.
//!
//! People and recorders leave extensions away, and dots belong to names: `Mr. Smith talks`, `3.5.2024 Meeting`. So an
//! extension is what media is known to end in, and nothing else.

use unicode_segmentation::UnicodeSegmentation as _;

/// The most bytes of a name: what the file systems of Linux and macOS take.
pub const MAX_FILENAME_BYTES: usize = 255;

/// What files with sound are called, in lower case and in order: the containers that the engine opens, under the names
/// that FFmpeg and the makers of recorders and cameras give them. Left out are those that are plain numbers (`.264`),
/// of one letter, or words (`.act`, `.far`, `.med`): they end more names than files.
const EXTENSIONS: &[&str] = &[
    "3g2", "3ga", "3gp", "3gp2", "3gpp", "3gpp2", "4xm", "aa", "aa3", "aac", "aax", "aaxc", "ac3", "acm", "adp", "ads",
    "adt", "adts", "adx", "aea", "afc", "aif", "aifc", "aiff", "aix", "alac", "amf", "amr", "ams", "amv", "ape", "apl",
    "aptx", "aptxhd", "asf", "ast", "au", "aud", "avi", "avr", "awb", "ay", "bcstm", "bfstm", "bik", "bik2", "binka",
    "brstm", "bwf", "c2", "caf", "cdata", "cdxl", "cpk", "dat", "dav", "dbm", "dff", "dfpwm", "dif", "divx", "dmf",
    "ds2", "dsd", "dsf", "dsm", "dss", "dtk", "dtm", "dts", "dtshd", "dv", "dvr-ms", "eac3", "ec3", "evo", "f4a",
    "f4b", "f4p", "f4v", "flac", "flv", "fsb", "fwse", "g722", "g723_1", "g729", "gbs", "gdm", "genh", "gsm", "gxf",
    "gym", "hca", "hcom", "hes", "iff", "ifv", "imf", "insv", "ircam", "ism", "isma", "ismv", "it", "ivr", "j2b",
    "kss", "kux", "latm", "lbc", "loas", "lrf", "lrv", "lvf", "m1v", "m2a", "m2p", "m2t", "m2ts", "m2v", "m4a", "m4b",
    "m4p", "m4r", "m4v", "mca", "mcc", "mdl", "mk3d", "mka", "mkv", "mlp", "mlv", "mmf", "mo3", "mod", "moflex", "mov",
    "mp+", "mp1", "mp2", "mp3", "mp4", "mp4a", "mp4v", "mpa", "mpc", "mpe", "mpeg", "mpg", "mpg4", "mpga", "mpp",
    "mpv", "mqv", "msbc", "msf", "mt2", "mtaf", "mtm", "mts", "mtv", "musx", "mxf", "mxg", "nist", "nsf", "nsfe",
    "nsp", "nst", "nsv", "nut", "nuv", "oga", "ogg", "ogm", "ogv", "ogx", "okt", "oma", "opus", "paf", "plm", "psm",
    "ptm", "pva", "pvf", "qcp", "qt", "r3d", "ra", "rf64", "rm", "rmvb", "rsd", "rso", "s3m", "sbc", "sdr2", "sds",
    "sdx", "sgc", "shn", "sln", "smk", "snd", "sox", "spc", "spdif", "sph", "spx", "stm", "stp", "svag", "svs", "swf",
    "tak", "tco", "thd", "tivo", "tod", "trp", "truehd", "ts", "tta", "ty", "ty+", "ult", "umx", "v210", "vag", "vgm",
    "vgz", "viv", "vob", "voc", "vox", "vpk", "vqe", "vqf", "vql", "vro", "w64", "wav", "wave", "weba", "webm", "wma",
    "wmv", "wsd", "wtv", "wv", "xa", "xm", "xmv", "xpk", "xvag", "xvid", "xwma", "y4m", "yop",
];

/// The name without its extension, where it has one and something before it.
pub fn stem(name: &str) -> &str {
    divided(name).map_or(name, |(stem, _)| stem)
}

/// What the MP3 of a file of that name is called: with `.mp3` in place of its extension, at most
/// [`MAX_FILENAME_BYTES`] long.
pub fn mp3_name(name: &str) -> String {
    format!("{}.mp3", shortened(stem(name), MAX_FILENAME_BYTES - ".mp3".len()))
}

/// The name, at most [`MAX_FILENAME_BYTES`] long. What is too long loses the end of its stem and keeps its extension,
/// from which the kind of some files is known.
pub fn fitting(name: &str) -> String {
    if name.len() <= MAX_FILENAME_BYTES {
        return name.to_owned();
    }
    match divided(name) {
        Some((stem, extension)) => {
            let stem = shortened(stem, MAX_FILENAME_BYTES - ".".len() - extension.len());
            format!("{stem}.{extension}")
        }
        None => shortened(name, MAX_FILENAME_BYTES).to_owned(),
    }
}

/// The beginning of a text, at most so many bytes of it: whole letters as people see them, with their accents, and
/// whole emoji.
///
/// Source: UAX 29, extended grapheme clusters.
pub fn cut(text: &str, most_bytes: usize) -> &str {
    let ends = text.grapheme_indices(true).map(|(at, letter)| at + letter.len());
    let end = ends.take_while(|end| *end <= most_bytes).last().unwrap_or(0);
    &text[..end]
}

fn shortened(name: &str, most_bytes: usize) -> &str {
    if name.len() <= most_bytes {
        return name;
    }
    cut(name, most_bytes).trim_end()
}

/// A name's stem, which is not empty, and its extension.
fn divided(name: &str) -> Option<(&str, &str)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let known = EXTENSIONS.binary_search(&&*extension.to_ascii_lowercase()).is_ok();
    (known && !stem.is_empty()).then_some((stem, extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_extension_is_one() {
        for (name, expected) in [
            ("holiday.mp4", "holiday"),
            ("HOLIDAY.MP4", "HOLIDAY"),
            ("My Trip.2024.mov", "My Trip.2024"),
            ("recording.dvr-ms", "recording"),
            ("song.mp3.flac", "song.mp3"),
            ("Mr. Smith talks", "Mr. Smith talks"),
            ("3.5.2024 Meeting", "3.5.2024 Meeting"),
            ("Meeting 3.5.2024", "Meeting 3.5.2024"),
            ("Meeting 3.5.264", "Meeting 3.5.264"),
            ("Version 1.0", "Version 1.0"),
            ("Jones vs. Miller", "Jones vs. Miller"),
            ("Dr.No", "Dr.No"),
            ("and so on...", "and so on..."),
            ("9 a.m.", "9 a.m."),
            ("clip.mp4 (1)", "clip.mp4 (1)"),
            ("日本語。第1.2回", "日本語。第1.2回"),
            ("no extension", "no extension"),
            (".mp4", ".mp4"),
            ("", ""),
        ] {
            assert_eq!(stem(name), expected, "{name}");
        }
    }

    #[test]
    fn the_extensions_can_be_searched() {
        assert!(EXTENSIONS.is_sorted());
        assert!(
            EXTENSIONS
                .iter()
                .all(|extension| *extension == extension.to_ascii_lowercase())
        );
    }

    #[test]
    fn the_mp3_of_a_name_of_any_length_fits_and_ends_between_letters() {
        assert_eq!(mp3_name("clip.mp4"), "clip.mp3");
        assert_eq!(mp3_name("clip.MP3"), "clip.mp3");
        assert_eq!(mp3_name("Mr. Smith talks"), "Mr. Smith talks.mp3");
        for letter in ["a", "ä", "e\u{301}", "東", "👩‍👩‍👧", "🇩🇪"] {
            for length in [240, 250, 251, 252, 255, 300] {
                let name = letter.repeat(length / letter.len());
                for name in [name.clone(), format!("{name}.mp4")] {
                    let stem = stem(&name);
                    let mp3 = mp3_name(&name);
                    let kept = mp3.strip_suffix(".mp3").unwrap();
                    assert!(
                        mp3.len() <= 255 && kept.len().is_multiple_of(letter.len()) && stem.starts_with(kept),
                        "{mp3}"
                    );
                    assert!(kept == stem || kept.len() + letter.len() > 251, "{mp3}");
                }
            }
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = "ä".repeat(200);
        assert_eq!(fitting(&format!("{long}.MP4")), format!("{}.MP4", "ä".repeat(125)));
        assert_eq!(fitting(&format!("{long}.mp4 or so")), "ä".repeat(127));
        assert_eq!(fitting(&format!("{} {long}", "x".repeat(254))), "x".repeat(254));
        let exact = format!("{}.mp4", "x".repeat(251));
        assert_eq!(fitting(&exact), exact);
    }

    #[test]
    fn a_letter_longer_than_the_limit_is_none() {
        assert_eq!(cut(&format!("a{}", "\u{301}".repeat(1000)), 100), "");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("abc", 3), "abc");
    }
}
