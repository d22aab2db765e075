//! The head of one part.

use percent_encoding::percent_decode_str;

use super::charset::{self, Charset};
use super::{Malformed, parameters};

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// The field's name.
    pub(crate) name: String,
    /// The file's name as it was sent, which may be empty; with one, the part is a file.
    pub(crate) filename: Option<String>,
}

impl PartHead {
    /// Reads the lines between a delimiter and the empty line, in the charset that the part declares, or else the form.
    pub(super) fn parse(head: &[u8], of_form: Option<Charset>) -> Result<Self, Malformed> {
        let text = charset::decode(head, own_charset(head).or(of_form));
        let mut disposition = None;
        for line in text.split("\r\n") {
            let (name, value) = line.split_once(':').ok_or(Malformed("a header without a colon"))?;
            let token = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
            if name.is_empty() || !name.bytes().all(token) {
                return Err(Malformed("a header whose name is no token"));
            }
            if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
                return Err(Malformed("two Content-Disposition headers"));
            }
        }
        let disposition = disposition.ok_or(Malformed("no Content-Disposition"))?;
        Self::from_disposition(disposition).ok_or(Malformed("an unusable Content-Disposition"))
    }

    fn from_disposition(value: &str) -> Option<Self> {
        let (kind, parameters) = parameters::parse(value)?;
        if !kind.eq_ignore_ascii_case("form-data") {
            return None;
        }
        let (mut name, mut filename, mut extended) = (None, None, None);
        for (parameter, value) in parameters {
            let repeated = match parameter.as_str() {
                "name" => name.replace(unescape(&value)).is_some(),
                "filename" => filename.replace(decode_plain(&value)).is_some(),
                "filename*" => extended.replace(decode_extended(&value)?).is_some(),
                _ => false,
            };
            if repeated {
                return None;
            }
        }
        Some(Self {
            name: name?,
            filename: extended.or(filename),
        })
    }
}

/// The charset that the part's `Content-Type` names.
fn own_charset(head: &[u8]) -> Option<Charset> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let (_, value) = lines.find_map(|line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then_some((name, value))
    })?;
    let (_, parameters) = parameters::parse(value)?;
    Charset::named_in(&parameters)
}

/// Undoes what browsers and curl do to quotes and line breaks in names, and nothing else.
///
/// Source: WHATWG HTML, "multipart/form-data encoding algorithm".
fn unescape(value: &str) -> String {
    value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// A name as browsers write it, or as mail does.
fn decode_plain(value: &str) -> String {
    charset::decode_words(value).unwrap_or_else(|| unescape(value))
}

/// `charset'language'percent-encoded` (RFC 8187 section 3.2).
fn decode_extended(value: &str) -> Option<String> {
    let (label, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let bytes: Vec<u8> = percent_decode_str(encoded).collect();
    Some(charset::decode(&bytes, Charset::of(label)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<(String, Option<String>), Malformed> {
        PartHead::parse(head.as_bytes(), None).map(|head| (head.name, head.filename))
    }

    /// The file name of a part whose head begins with this disposition and goes on with that.
    fn filename(parameter: &[u8], behind: &str, of_form: Option<&str>) -> String {
        let head = [
            b"Content-Disposition: form-data; name=f; ",
            parameter,
            behind.as_bytes(),
        ]
        .concat();
        let head = PartHead::parse(&head, of_form.and_then(Charset::of)).unwrap();
        head.filename.unwrap()
    }

    #[test]
    fn a_file_has_a_file_name_even_an_empty_one_and_a_text_has_none() {
        for (head, name, filename) in [
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4",
                "file",
                Some("a.mp4"),
            ),
            (
                "content-disposition:form-data;name=file;filename=\"\"",
                "file",
                Some(""),
            ),
            ("X: y\r\nCONTENT-DISPOSITION: Form-Data; name=\"vbr\"", "vbr", None),
        ] {
            let expected = (name.to_owned(), filename.map(str::to_owned));
            assert_eq!(read(head).unwrap(), expected, "{head}");
        }
    }

    #[test]
    fn names_are_read_as_browsers_curl_and_python_write_them() {
        for (parameter, filename) in [
            (r#"filename="a%22b.mp4""#, "a\"b.mp4"),
            (r#"filename="a\"b.mp4""#, "a\"b.mp4"),
            ("filename=\"café.mp4\"", "café.mp4"),
            ("filename*=utf-8''caf%C3%A9.mp4", "café.mp4"),
            (r#"filename="cafe.mp4"; filename*=UTF-8'fr'caf%C3%A9.mp4"#, "café.mp4"),
        ] {
            let head = format!("Content-Disposition: form-data; name=f; {parameter}");
            assert_eq!(read(&head).unwrap().1.unwrap(), filename, "{parameter}");
        }
    }

    #[test]
    fn a_name_is_read_in_the_charset_that_is_declared_nearest_to_it() {
        let latin = "\r\nContent-Type: audio/wav; charset=ISO-8859-1";
        let cyrillic = "\r\ncontent-type: audio/wav; charset=\"windows-1251\"";
        for (parameter, behind, of_form, expected) in [
            (&b"filename=\"caf\xe9.wav\""[..], "", None, "café.wav"),
            (b"filename=\"caf\xc3\xa9.wav\"", "", None, "café.wav"),
            (b"filename=\"caf\xc3\xa9.wav\"", latin, None, "cafÃ©.wav"),
            (b"filename=\"\xe9.wav\"", cyrillic, Some("iso-8859-7"), "й.wav"),
            (b"filename=\"\xe9.wav\"", "", Some("iso-8859-7"), "ι.wav"),
            (
                b"filename=\"\xe9.wav\"",
                "\r\nContent-Type: ;;",
                Some("iso-8859-7"),
                "ι.wav",
            ),
            // The second byte of this letter is a backslash.
            (b"filename=\"\x83\x5c\"", "", Some("shift_jis"), "ソ"),
            (b"filename*=iso-8859-1'en'caf%E9.wav", "", Some("utf-8"), "café.wav"),
            (b"filename*=UTF-8''caf%C3%A9.wav", latin, None, "café.wav"),
            (b"filename*=x-unknown''caf%C3%A9.wav", "", None, "café.wav"),
            (b"filename=\"=?utf-8?B?Y2Fmw6kud2F2?=\"", "", None, "café.wav"),
        ] {
            assert_eq!(
                filename(parameter, behind, of_form),
                expected,
                "{}",
                parameter.escape_ascii()
            );
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "",
            "Content-Type: video/mp4",
            "Content-Disposition: attachment; name=f",
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; filename=\"a.mp4\"",
            "Content-Disposition: form-data; name=f; name=g",
            "Content-Disposition: form-data; name=f; filename=a; filename=b",
            "Content-Disposition: form-data; name=f; filename*=a.mp4",
            "Content-Disposition: form-data; name=\"f",
            "Content-Disposition: form-data; name=f\r\nContent-Disposition: form-data; name=g",
            "Content-Disposition: form-data;\r\n name=f",
            "Content-Disposition : form-data; name=f",
            "no colon",
        ] {
            assert!(read(head).is_err(), "{head:?}");
        }
    }
}
