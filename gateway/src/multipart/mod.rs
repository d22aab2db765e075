//! multipart/form-data, read strictly and as it arrives, with bounded memory.
//!
//! A parser of our own, and a short one. The usual one buffers a part's head until its end and searches it again from
//! the start with every piece that arrives: a head of 64 MiB costs seconds of CPU, one of 1 GiB twenty minutes and as
//! much memory. Here everything that is not a part's content has a small limit, every byte is searched once, and
//! content is handed on as it comes. The parser does no I/O, so every way to cut a body into pieces can be tested.
//!
//! ```text
//! Content-Type -> Boundary -> Parser: feed(bytes) ... next() -> Part, Data, Data, PartEnd, ..., End
//! ```
//!
//! Source: RFC 7578 (the form), RFC 2046 section 5.1 (the delimiters), RFC 8187 (`filename*`).

mod charset;
mod delimiter;
mod head;
mod parameters;
mod parser;

pub(crate) use charset::Charset;
pub(crate) use delimiter::Boundary;
pub(crate) use head::PartHead;
pub(crate) use parser::{Event, MAX_PART_HEAD_BYTES, MAX_PARTS, Parser};

/// The body is not multipart/form-data as the standards write it, or exceeds a limit of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed multipart body: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);
