//! The parser: pieces of a body in, events out.

use bytes::{Buf, Bytes, BytesMut};

use super::charset::Charset;
use super::delimiter::{Delimiter, Scan};
use super::{Boundary, Malformed, PartHead};

/// The most bytes of a part's head.
pub(crate) const MAX_PART_HEAD_BYTES: usize = 16 * 1024;
/// The most bytes before the first delimiter, and behind the last one: nobody sends any.
const MAX_MARGIN_BYTES: usize = 16 * 1024;
/// The most parts: one file and a few options.
pub(crate) const MAX_PARTS: u32 = 100;

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins.
    Part(PartHead),
    /// Bytes of the part at hand, at least one.
    Data(Bytes),
    /// The part at hand ends.
    PartEnd,
    /// The body ends, behind its closing delimiter.
    End,
    /// Nothing can be said before more is fed, or the end of the input.
    NeedMore,
}

/// Reads one body. Holds what was fed last, and at most one part's head or one delimiter's length of what came before.
pub(crate) struct Parser {
    delimiter: Delimiter,
    buffer: BytesMut,
    state: State,
    input_ended: bool,
    parts: u32,
    charset: Option<Charset>,
}

enum State {
    /// Before the first delimiter; so many bytes were skipped.
    Preamble { skipped_bytes: usize },
    /// In a part's head. The buffer begins with the line break of the delimiter line, so that a head without lines ends
    /// like every other one; so many bytes were searched for its end.
    Head { searched_bytes: usize },
    /// In a part's content. The buffer begins with so many bytes of the head's end: the line break of a delimiter that
    /// follows at once.
    Content { leading_bytes: usize },
    /// Behind the closing delimiter; so many bytes were skipped.
    Epilogue { skipped_bytes: usize },
}

impl Parser {
    pub(crate) fn new(boundary: &Boundary) -> Self {
        Self {
            delimiter: Delimiter::new(boundary),
            // The line break that belongs to a delimiter, for a body that begins with one.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble { skipped_bytes: 0 },
            input_ended: false,
            parts: 0,
            charset: boundary.charset,
        }
    }

    /// The names of the parts that follow are in this charset, where they do not say otherwise themselves.
    pub(crate) fn assume_charset(&mut self, charset: Charset) {
        self.charset = Some(charset);
    }

    /// Takes the next piece of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// There are no more pieces.
    pub(crate) fn end_of_input(&mut self) {
        self.input_ended = true;
    }

    /// What comes next. To be called until it needs more.
    ///
    /// # Errors
    /// The body is malformed; nothing can be read from it any more.
    pub(crate) fn next(&mut self) -> Result<Event, Malformed> {
        loop {
            let event = match self.state {
                State::Preamble { skipped_bytes } => self.preamble(skipped_bytes)?,
                State::Head { searched_bytes } => self.head(searched_bytes)?,
                State::Content { leading_bytes } => self.content(leading_bytes)?,
                State::Epilogue { skipped_bytes } => return self.epilogue(skipped_bytes),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    fn preamble(&mut self, skipped_bytes: usize) -> Result<Option<Event>, Malformed> {
        let (skip, delimiter) = match self.delimiter.scan(&self.buffer) {
            Scan::Content(len) => (len, None),
            Scan::Delimiter { at, len, closing } => (at, Some((len, closing))),
        };
        let skipped_bytes = skipped_bytes + skip;
        if skipped_bytes > MAX_MARGIN_BYTES {
            return Err(Malformed("too much before the first delimiter"));
        }
        self.buffer.advance(skip);
        let Some((len, closing)) = delimiter else {
            self.state = State::Preamble { skipped_bytes };
            return self.need_more("no delimiter").map(Some);
        };
        self.begin_behind(len, closing);
        Ok(None)
    }

    fn head(&mut self, searched_bytes: usize) -> Result<Option<Event>, Malformed> {
        let end = self.buffer[searched_bytes..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| at + searched_bytes);
        if end.unwrap_or(self.buffer.len()) > MAX_PART_HEAD_BYTES {
            return Err(Malformed("a part's head is too long"));
        }
        let Some(end) = end else {
            self.state = State::Head {
                searched_bytes: self.buffer.len().saturating_sub(3),
            };
            return self.need_more("the body ends in a part's head").map(Some);
        };
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Malformed("too many parts"));
        }
        let head = PartHead::parse(self.buffer.get(2..end).unwrap_or_default(), self.charset)?;
        self.buffer.advance(end + 2);
        self.state = State::Content { leading_bytes: 2 };
        Ok(Some(Event::Part(head)))
    }

    fn content(&mut self, leading_bytes: usize) -> Result<Option<Event>, Malformed> {
        let (len, delimiter) = match self.delimiter.scan(&self.buffer) {
            Scan::Content(len) => (len, None),
            Scan::Delimiter { at, len, closing } => (at, Some((len, closing))),
        };
        if len > leading_bytes {
            self.buffer.advance(leading_bytes);
            self.state = State::Content { leading_bytes: 0 };
            let data = self.buffer.split_to(len - leading_bytes).freeze();
            return Ok(Some(Event::Data(data)));
        }
        match delimiter {
            Some((delimiter_len, closing)) => {
                self.buffer.advance(len);
                self.begin_behind(delimiter_len, closing);
                Ok(Some(Event::PartEnd))
            }
            None => self.need_more("no closing delimiter").map(Some),
        }
    }

    fn epilogue(&mut self, skipped_bytes: usize) -> Result<Event, Malformed> {
        let skipped_bytes = skipped_bytes + self.buffer.len();
        if skipped_bytes > MAX_MARGIN_BYTES {
            return Err(Malformed("too much behind the closing delimiter"));
        }
        self.buffer.clear();
        self.state = State::Epilogue { skipped_bytes };
        Ok(if self.input_ended { Event::End } else { Event::NeedMore })
    }

    /// Goes on behind a delimiter line that begins the buffer.
    fn begin_behind(&mut self, len: usize, closing: bool) {
        self.buffer.advance(len);
        self.state = if closing {
            State::Epilogue { skipped_bytes: 0 }
        } else {
            State::Head { searched_bytes: 0 }
        };
    }

    fn need_more(&self, missing: &'static str) -> Result<Event, Malformed> {
        if self.input_ended {
            Err(Malformed(missing))
        } else {
            Ok(Event::NeedMore)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts of a body that is fed in pieces of `piece` bytes: name, file name, content.
    type Parts = Vec<(String, Option<String>, Vec<u8>)>;

    fn read(boundary: &str, body: &[u8], piece: usize) -> Result<Parts, Malformed> {
        let mut parser = Parser::new(&Boundary::new(boundary).unwrap());
        let mut pieces = body.chunks(piece);
        let mut parts = Parts::new();
        loop {
            match parser.next()? {
                Event::Part(head) => parts.push((head.name, head.filename, Vec::new())),
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    parts.last_mut().unwrap().2.extend_from_slice(&data);
                }
                Event::PartEnd => {}
                Event::End => return Ok(parts),
                Event::NeedMore => match pieces.next() {
                    Some(piece) => parser.feed(piece),
                    None => parser.end_of_input(),
                },
            }
        }
    }

    fn part(name: &str, content: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    }

    fn text(name: &str, content: &str) -> (String, Option<String>, Vec<u8>) {
        (name.to_owned(), None, content.as_bytes().to_vec())
    }

    #[test]
    fn parts_are_read_whatever_surrounds_them() {
        let parts = format!("{}{}", part("a", "1"), part("b", ""));
        for body in [
            format!("{parts}--B--\r\n"),
            format!("{parts}--B--"),
            format!("preamble\r\n{parts}--B--\r\nepilogue"),
            format!("\r\n{parts}--B--"),
            parts.replace("--B\r\n", "--B \t\r\n") + "--B--",
        ] {
            for piece in 1..=body.len() {
                let read = read("B", body.as_bytes(), piece);
                assert_eq!(read, Ok(vec![text("a", "1"), text("b", "")]), "{body:?}");
            }
        }
    }

    #[test]
    fn a_part_without_content_may_share_its_line_break_with_the_delimiter() {
        let body = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n--B--";
        assert_eq!(read("B", body.as_bytes(), 7), Ok(vec![text("a", "")]));
    }

    #[test]
    fn lines_that_only_look_like_delimiters_are_content() {
        let content = "\r\n--Bx\r\n--\r\n-B\r\n--B-\r\n\r\n--b";
        let body = part("a", content) + "--B--";
        for piece in 1..=body.len() {
            let read = read("B", body.as_bytes(), piece);
            assert_eq!(read, Ok(vec![text("a", content)]));
        }
    }

    #[test]
    fn a_body_that_is_not_whole_or_not_multipart_is_malformed() {
        let whole = part("a", "1") + "--B--";
        for end in 0..whole.len() {
            assert!(read("B", &whole.as_bytes()[..end], 5).is_err(), "{end}");
        }
        for body in [
            "fid=1",
            "--C\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--C--",
            "--B\nContent-Disposition: form-data; name=a\n\n1\n--B--",
            "--B\r\n\r\n1\r\n--B--",
        ] {
            assert!(read("B", body.as_bytes(), 5).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_body_may_hold_no_part_at_all() {
        assert_eq!(read("B", b"--B--\r\n", 3), Ok(vec![]));
    }

    #[test]
    fn everything_but_content_is_bounded() {
        let bomb = vec![b'x'; 1024 * 1024];
        let opening = b"--B\r\nContent-Disposition: form-data; name=a\r\nX: ";
        let closed = part("a", "1") + "--B--";
        let many = part("a", "1").repeat(10_000) + "--B--";
        for body in [
            bomb.clone(),
            [&opening[..], &bomb].concat(),
            [closed.as_bytes(), &bomb].concat(),
            many.into_bytes(),
        ] {
            assert!(read("B", &body, 8 * 1024).is_err());
        }
    }

    #[test]
    fn a_bomb_is_refused_before_much_of_it_is_held() {
        let mut parser = Parser::new(&Boundary::new("B").unwrap());
        parser.feed(b"--B\r\nX: ");
        let mut fed_bytes = 0;
        while parser.next().is_ok() {
            parser.feed(&[b'x'; 4096]);
            fed_bytes += 4096;
            assert!(fed_bytes <= MAX_PART_HEAD_BYTES + 4096);
        }
    }

    proptest! {
        #[test]
        fn any_content_survives_however_it_is_cut(
            contents in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![
                    Just(b"\r\n".to_vec()), Just(b"--".to_vec()), Just(b"aXa".to_vec()), Just(b"\r\n--aXa".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..8),
                ], 0..12).prop_map(|pieces| pieces.concat()),
                0..4,
            ),
            piece in 1_usize..64,
        ) {
            // A content with a whole delimiter line in it cannot be sent with this boundary.
            let boundary = "aXaQ";
            let mut body = Vec::new();
            for content in &contents {
                body.extend_from_slice(b"--aXaQ\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n");
                body.extend_from_slice(content);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--aXaQ--\r\n");
            let read: Vec<_> = read(boundary, &body, piece).unwrap().into_iter().map(|part| part.2).collect();
            prop_assert_eq!(read, contents);
        }

        #[test]
        fn no_input_makes_it_panic(body in proptest::collection::vec(
            prop_oneof![
                Just(b"--B".to_vec()), Just(b"\r\n".to_vec()), Just(b"--".to_vec()), Just(b"Content-Disposition: ".to_vec()),
                Just(b"form-data; name=\"a\"".to_vec()), Just(b"; filename=".to_vec()), Just(b"\"".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..6),
            ], 0..40), piece in 1_usize..40) {
            let body = body.concat();
            let whole = read("B", &body, usize::MAX);
            prop_assert_eq!(read("B", &body, piece), whole);
        }
    }
}
