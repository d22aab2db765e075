//! Reads the header `Authorization`: Basic for a login, Bearer for everything else. Strict, since what two readers
//! understand differently is a hole.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Credentials;

/// The most bytes of a header that is read.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// There is no `Authorization: Basic` that holds credentials: answer 401 `missing credentials`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing credentials")]
pub struct MissingCredentials;

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// No header, or an empty one: answer 401 `missing credentials`.
    #[error("missing credentials")]
    Missing,
    /// Another scheme, several headers, or nothing that could be a token: answer like to a bad token.
    #[error("not authorized")]
    OtherScheme,
}

/// The user-id and password of `Authorization: Basic`. Neither holds a control character; the user-id may be empty and
/// holds no colon, the password may hold some.
///
/// # Errors
/// [`MissingCredentials`] for no header, several, more than 8 KiB, another scheme, base64 that is not strict and
/// padded, bytes that are not UTF-8, no colon, or a control character.
///
/// Source: RFC 7617 section 2.
pub fn basic(headers: &HeaderMap) -> Result<Credentials, MissingCredentials> {
    let header = only(headers).and_then(visible_text).ok_or(MissingCredentials)?;
    let encoded = after_scheme(header, "Basic").ok_or(MissingCredentials)?;
    let decoded = STANDARD.decode(encoded).map_err(|_| MissingCredentials)?;
    let decoded = String::from_utf8(decoded).map_err(|_| MissingCredentials)?;
    if decoded.chars().any(char::is_control) {
        return Err(MissingCredentials);
    }
    let (username, password) = decoded.split_once(':').ok_or(MissingCredentials)?;
    Ok(Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

/// The token of `Authorization: Bearer`: not empty, at most 8 KiB, without white space.
///
/// # Errors
/// [`BearerError`].
///
/// Source: RFC 6750 section 2.1.
pub fn bearer(headers: &HeaderMap) -> Result<&str, BearerError> {
    let present = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .any(|value| !value.as_bytes().trim_ascii().is_empty());
    if !present {
        return Err(BearerError::Missing);
    }
    only(headers)
        .and_then(visible_text)
        .and_then(|header| after_scheme(header, "Bearer"))
        .filter(|token| !token.is_empty() && !token.contains([' ', '\t']))
        .ok_or(BearerError::OtherScheme)
}

/// The header, when there is exactly one.
fn only(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn visible_text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.len() <= MAX_HEADER_BYTES)
}

/// What follows `scheme`, which compares without regard to case, and the spaces behind it (RFC 9110 section 11.4).
fn after_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = header.trim().split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn basic_of(user_pass: &[u8]) -> Result<(String, String), MissingCredentials> {
        let header = format!("Basic {}", STANDARD.encode(user_pass));
        basic(&headers(&[header.as_bytes()])).map(|credentials| (credentials.username, credentials.password))
    }

    #[test]
    fn user_and_password_are_split_at_the_first_colon() {
        let pair = |user: &str, password: &str| Ok((user.to_owned(), password.to_owned()));
        assert_eq!(basic_of(b"a@b.c:x:y:"), pair("a@b.c", "x:y:"));
        assert_eq!(basic_of("a@b.c:pä ß".as_bytes()), pair("a@b.c", "pä ß"));
        assert_eq!(basic_of(b"a@b.c:"), pair("a@b.c", ""));
        assert_eq!(basic_of(b":"), pair("", ""));
    }

    #[test]
    fn the_scheme_compares_without_case_and_may_be_followed_by_several_spaces() {
        for header in ["basic YTpi", "BASIC YTpi", "Basic   YTpi", " Basic YTpi "] {
            assert!(basic(&headers(&[header.as_bytes()])).is_ok(), "{header:?}");
        }
        assert_eq!(bearer(&headers(&[b"bEARER  x.y.z"])), Ok("x.y.z"));
    }

    #[test]
    fn a_malformed_basic_header_is_no_credentials() {
        let too_long = format!("Basic {}", STANDARD.encode("a:".repeat(MAX_HEADER_BYTES)));
        let corpus: &[&[u8]] = &[
            b"",
            b" ",
            b"Basic",
            b"Basic ",
            b"BasicYTpi",
            b"Basic\tYTpi",
            b"Basic YTpi YTpi",
            b"Basic YTpi,Basic YTpi",
            b"Basic YT pi",
            b"Basic YWI",
            b"Basic YWI6Yw",
            b"Basic YWI6Yw=",
            b"Basic YWI6Yx==",
            b"Basic =YTpi",
            b"Basic YTp-",
            b"Basic YTp_",
            b"Basic %%%%",
            b"Basic a:b",
            b"Basic YWI=",
            b"Bearer YTpi",
            b"Digest username=\"a\"",
            b"Basic \xff\xfe",
            too_long.as_bytes(),
        ];
        for header in corpus {
            let read = basic(&headers(&[header]));
            assert!(read.is_err(), "{}", String::from_utf8_lossy(header));
        }
        for user_pass in [&b"a\0b:c"[..], b"a:b\0", b"a:b\n", b"a\x7f:b", b"\xff:\xfe"] {
            assert_eq!(basic_of(user_pass), Err(MissingCredentials), "{user_pass:?}");
        }
        assert!(basic(&HeaderMap::new()).is_err());
        assert!(basic(&headers(&[b"Basic YTpi", b"Basic YTpi"])).is_err());
    }

    #[test]
    fn no_header_is_missing_and_anything_else_is_another_scheme() {
        assert_eq!(bearer(&HeaderMap::new()), Err(BearerError::Missing));
        assert_eq!(bearer(&headers(&[b""])), Err(BearerError::Missing));
        let too_long = format!("Bearer {}", "a".repeat(MAX_HEADER_BYTES));
        let corpus: &[&[u8]] = &[
            b"Basic YTpi",
            b"Bearer",
            b"Bearer ",
            b"Bearer a b",
            b"Bearerx",
            b"Bearer\tx",
            b"x.y.z",
            b"Bearer \xff",
            too_long.as_bytes(),
        ];
        for header in corpus {
            assert_eq!(
                bearer(&headers(&[header])),
                Err(BearerError::OtherScheme),
                "{}",
                String::from_utf8_lossy(header)
            );
        }
        assert_eq!(
            bearer(&headers(&[b"Bearer a", b"Bearer b"])),
            Err(BearerError::OtherScheme)
        );
    }
}
