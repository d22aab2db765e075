//! `value; key=token; key="quoted string"`, as Content-Type and Content-Disposition write it.

/// The value before the first semicolon, trimmed, and the parameters behind it in order, names in lower case. None
/// when it is not written like that.
pub(super) fn parse(text: &str) -> Option<(&str, Vec<(String, String)>)> {
    let (value, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut parameters = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Some((value.trim(), parameters));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']);
        if name.is_empty() || name.contains([';', '"', ' ']) {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let token = after[..end].trim_end_matches([' ', '\t']);
                if token.is_empty() || token.contains(['"', ' ', '\t']) {
                    return None;
                }
                (token.to_owned(), &after[end..])
            }
        };
        parameters.push((name.to_ascii_lowercase(), value));
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() {
            rest = rest.strip_prefix(';')?;
        }
    }
}

/// A quoted string without its opening quote, and what follows the closing one.
///
/// Only `\"` and `\\` are escapes: some clients send `C:\clips\a.mp4` as it is.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Vec<(String, String)>)> {
        parse(text).map(|(value, parameters)| (value.to_owned(), parameters))
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        read(text).unwrap().1
    }

    #[test]
    fn tokens_and_quoted_strings_are_read_and_names_compare_without_case() {
        let (value, parameters) = read(r#"form-data ; NAME=a; filename = "b; c.mp4" ;"#).unwrap();
        assert_eq!(value, "form-data");
        let expected = [("name", "a"), ("filename", "b; c.mp4")];
        assert_eq!(parameters, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn quotes_can_be_escaped_and_windows_paths_need_not_be() {
        assert_eq!(pairs(r#"x; f="a\"b\\c""#)[0].1, r#"a"b\c"#);
        assert_eq!(pairs(r#"x; f="C:\clips\a.mp4""#)[0].1, r"C:\clips\a.mp4");
        assert_eq!(pairs(r#"x; f="""#)[0].1, "");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "x; a",
            "x; =b",
            "x; a=",
            "x; a=b c",
            r#"x; a="b"#,
            r#"x; a="b" c"#,
            r#"x; a=b"c""#,
            "x;;",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
