//! The head of one part.

use percent_encoding::percent_decode_str;

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
    /// Reads the lines between a delimiter and the empty line.
    pub(super) fn parse(head: &[u8]) -> Result<Self, Malformed> {
        let text = String::from_utf8_lossy(head);
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
                "filename" => filename.replace(unescape(&value)).is_some(),
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

/// Undoes what browsers and curl do to quotes and line breaks in names, and nothing else.
///
/// Source: WHATWG HTML, "multipart/form-data encoding algorithm".
fn unescape(value: &str) -> String {
    value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// `charset'language'percent-encoded`, where the charset is taken to be UTF-8 (RFC 8187 section 3.2).
fn decode_extended(value: &str) -> Option<String> {
    let (_charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    Some(percent_decode_str(encoded).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<(String, Option<String>), Malformed> {
        PartHead::parse(head.as_bytes()).map(|head| (head.name, head.filename))
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
