//! The file of an upload that its client sends again: nothing of it is kept but a digest.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use domain::{Job, KeyedUpload, Options};

use super::UploadError;

/// An upload that is held against the one that had its key first.
pub(super) struct Comparing {
    first: KeyedUpload,
    size_bytes: u64,
    digest: Context,
}

impl Comparing {
    pub(super) fn begin(first: KeyedUpload) -> Self {
        Self {
            first,
            size_bytes: 0,
            digest: Context::new(&SHA256),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// The first one's job, when file and options are the same.
    pub(super) fn end(self, options: &Options) -> Result<Job, UploadError> {
        let sha256 = hexadecimal(self.digest.finish().as_ref());
        let first = self.first;
        let is_same = first.job.size_bytes == Some(self.size_bytes)
            && first.sha256 == Some(sha256)
            && first.job.options == *options;
        if is_same {
            Ok(first.job)
        } else {
            Err(UploadError::KeyOfAnother)
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
