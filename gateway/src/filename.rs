//! The name of an upload, made fit to be stored, mailed and sent back.

/// The name of an upload without one.
const NAMELESS: &str = "video";

/// The name without directories and control characters, at most 255 bytes ([`domain::filename::fitting`]); `video` when
/// nothing is left.
pub(crate) fn clean(sent: &str) -> String {
    let base = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = base.chars().filter(|c| !is_control(*c)).collect();
    let name = domain::filename::fitting(visible.trim());
    if matches!(&*name, "" | "." | "..") {
        NAMELESS.to_owned()
    } else {
        name
    }
}

/// Control characters, and those that break lines or turn the direction of what follows: a name must not look like
/// another one.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_of_a_path_is_kept() {
        for (sent, name) in [
            ("clip.mp4", "clip.mp4"),
            ("/etc/passwd", "passwd"),
            ("../../x.mp4", "x.mp4"),
            (r"C:\clips\summer 1.mov", "summer 1.mov"),
            ("naïve ☂.mkv", "naïve ☂.mkv"),
        ] {
            assert_eq!(clean(sent), name);
        }
    }

    #[test]
    fn what_could_forge_a_header_or_another_name_is_removed() {
        assert_eq!(clean("a\r\nX-Evil: 1.mp4"), "aX-Evil: 1.mp4");
        assert_eq!(clean("a\0\u{1b}[2J.mp4"), "a[2J.mp4");
        assert_eq!(clean("gpj\u{202e}4pm.exe"), "gpj4pm.exe");
    }

    #[test]
    fn a_name_without_substance_becomes_video() {
        for sent in ["", " ", ".", "..", "a/", "\r\n", r"\"] {
            assert_eq!(clean(sent), "video", "{sent:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_letters_and_keeps_its_extension() {
        let name = clean(&format!("{}.mp4", "a\u{308}".repeat(200)));
        assert_eq!(name, format!("{}.mp4", "a\u{308}".repeat(83)));
    }
}
