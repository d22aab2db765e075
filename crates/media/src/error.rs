//! How a conversion ends without an MP3.

use std::io;

use crate::{Anew, Verdict};

/// Why there is no MP3, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The media is at fault: tell its owner, do not try again.
    #[error("{0}")]
    Verdict(Verdict),
    /// The source could not be read: our trouble, try again.
    #[error("cannot read the source")]
    Read(#[source] io::Error),
    /// The sink did not take the MP3: our trouble, try again.
    #[error("cannot write the MP3")]
    Write(#[source] io::Error),
    /// The source is a stream, and this file can only be read with seeking: store it first, then convert that.
    #[error("this file cannot be converted while it streams: its index is at the end")]
    NeedsSeeking,
    /// Something was found out only after part of the MP3 had been written: throw that away, and try again with the
    /// settings that [`Settings::anew`](crate::Settings::anew) gives.
    #[error("the MP3 has to be begun anew: {0}")]
    BeginAnew(Anew),
    /// The progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A setting is out of the range its documentation gives.
    #[error("setting `{field}` is out of range")]
    Settings {
        /// The field of [`Settings`](crate::Settings).
        field: &'static str,
    },
    /// The engine itself failed, by a fault of ours or for want of memory: try again, then look.
    #[error("the engine failed: {operation}")]
    Internal {
        /// What was being done.
        operation: &'static str,
        /// The library's error, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl ConvertError {
    /// The engine failed at `operation`, with the library's error.
    pub(crate) fn internal(
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Internal {
            operation,
            source: Some(source.into()),
        }
    }
}

impl From<Verdict> for ConvertError {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}
