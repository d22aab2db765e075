//! Which part of a file a request asks for, if any: ranges and preconditions.
//!
//! Source: RFC 9110 sections 13 (If-None-Match, If-Modified-Since, If-Range) and 14 (Range). Files never change, so the
//! entity tag is the id and the date is the one of storing.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, header};

/// What is sent of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// 304: the client has it.
    NotModified,
    /// 200: all of it.
    Whole,
    /// 206: these bytes.
    Part(Range<u64>),
    /// 416: it has no such bytes.
    Unsatisfiable,
}

/// The file a request is about.
pub(super) struct Validators {
    /// The entity tag, in quotes.
    pub(super) etag: String,
    /// When it was stored.
    pub(super) modified: SystemTime,
    /// Its length.
    pub(super) len_bytes: u64,
}

impl Validators {
    /// What `headers` ask for. A range counts only in a GET.
    pub(super) fn extent(&self, headers: &HeaderMap, is_get: bool) -> Extent {
        if self.is_known_to(headers) {
            return Extent::NotModified;
        }
        if !is_get || !self.range_applies(headers) {
            return Extent::Whole;
        }
        only(headers, header::RANGE).map_or(Extent::Whole, |range| self.part(range))
    }

    /// Whole seconds: HTTP's dates have no more.
    pub(super) fn modified_seconds(&self) -> SystemTime {
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(since.as_secs())
    }

    fn is_known_to(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_NONE_MATCH) {
            let values = headers.get_all(header::IF_NONE_MATCH).iter();
            let mut tags = values
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','));
            return tags.any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag
            });
        }
        let since = only(headers, header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date).ok());
        since.is_some_and(|since| self.modified_seconds() <= since)
    }

    /// Whether the client's part is a part of this file (If-Range: strong comparison).
    fn range_applies(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(header::IF_RANGE) {
            return true;
        }
        only(headers, header::IF_RANGE).is_some_and(|validator| {
            let date = || httpdate::parse_http_date(validator).ok();
            validator == self.etag || date() == Some(self.modified_seconds())
        })
    }

    /// One range of bytes. What is malformed, in another unit or several ranges is ignored, as the standard allows.
    fn part(&self, range: &str) -> Extent {
        let Some((unit, range)) = range.split_once('=') else {
            return Extent::Whole;
        };
        let Some((first, last)) = range.trim().split_once('-') else {
            return Extent::Whole;
        };
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Extent::Whole;
        }
        let part = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(self.len_bytes),
            (Some(first), None) if last.is_empty() => first..self.len_bytes,
            (None, Some(suffix)) if first.is_empty() => self.len_bytes.saturating_sub(suffix)..self.len_bytes,
            _ => return Extent::Whole,
        };
        if part.is_empty() {
            Extent::Unsatisfiable
        } else {
            Extent::Part(part)
        }
    }
}

/// The header's text, when there is exactly one.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

/// A decimal number; one that is too large is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(len_bytes: u64, headers: &[(HeaderName, &str)]) -> Extent {
        let validators = Validators {
            etag: "\"64b7\"".to_owned(),
            modified: UNIX_EPOCH + Duration::from_millis(784_111_777_500),
            len_bytes,
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        validators.extent(&headers.collect(), true)
    }

    #[test]
    fn one_range_is_served() {
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-30", 0..10),
            ("bytes=5-100", 5..10),
            ("Bytes=5-99999999999999999999999", 5..10),
        ] {
            assert_eq!(ask(10, &[(header::RANGE, range)]), Extent::Part(part), "{range}");
        }
    }

    #[test]
    fn a_range_outside_the_file_cannot_be_satisfied() {
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(ask(10, &[(header::RANGE, range)]), Extent::Unsatisfiable, "{range}");
        }
        assert_eq!(ask(0, &[(header::RANGE, "bytes=0-")]), Extent::Unsatisfiable);
    }

    #[test]
    fn a_range_that_is_malformed_multiple_or_in_another_unit_is_ignored() {
        for range in [
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=1",
            "items=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(ask(10, &[(header::RANGE, range)]), Extent::Whole, "{range}");
        }
        let twice = [(header::RANGE, "bytes=0-1"), (header::IF_RANGE, "\"other\"")];
        assert_eq!(ask(10, &twice), Extent::Whole);
    }

    #[test]
    fn a_range_of_another_file_is_answered_with_the_whole_one() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (validator, extent) in [
            ("\"64b7\"", Extent::Part(2..10)),
            (date, Extent::Part(2..10)),
            ("W/\"64b7\"", Extent::Whole),
            ("\"other\"", Extent::Whole),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Extent::Whole),
        ] {
            let headers = [(header::RANGE, "bytes=2-"), (header::IF_RANGE, validator)];
            assert_eq!(ask(10, &headers), extent, "{validator}");
        }
    }

    #[test]
    fn a_client_that_has_the_file_is_told_so() {
        for tags in ["\"64b7\"", "W/\"64b7\"", "\"a\", \"64b7\"", "*"] {
            assert_eq!(ask(10, &[(header::IF_NONE_MATCH, tags)]), Extent::NotModified, "{tags}");
        }
        assert_eq!(ask(10, &[(header::IF_NONE_MATCH, "\"a\"")]), Extent::Whole);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(ask(10, &[(header::IF_MODIFIED_SINCE, date)]), Extent::NotModified);
        let both = [(header::IF_MODIFIED_SINCE, date), (header::IF_NONE_MATCH, "\"a\"")];
        assert_eq!(ask(10, &both), Extent::Whole);
    }
}
