//! Where the files are: a directory (`file:`), or MongoDB GridFS (`mongodb:`).

mod digest;
pub mod gridfs;
pub mod local;

use std::path::Path;
use std::sync::Arc;

use domain::{BackendUrl, BlobStore, Head, PortError};

use crate::{ConnectError, mongo};
use gridfs::GridFsBlobStore;
use local::LocalBlobStore;

/// The chunk size of every file of ours, 255 KiB: GridFS's own default, and the most a head can replace.
///
/// Source: GridFS specification, "chunkSizeBytes".
pub const CHUNK_BYTES: usize = 255 * 1024;

/// A head must be of one chunk at most, and within the `len_bytes` that were written. An empty one is none.
///
/// # Errors
/// `Corrupt`: the caller's mistake.
fn checked_head(head: Option<Head>, len_bytes: u64) -> Result<Option<Head>, PortError> {
    let Some(head) = head.filter(|head| !head.bytes.is_empty()) else {
        return Ok(None);
    };
    let end = head.at.checked_add(head.bytes.len() as u64);
    if head.bytes.len() <= CHUNK_BYTES && end.is_some_and(|end| end <= len_bytes) {
        return Ok(Some(head));
    }
    let (length, at) = (head.bytes.len(), head.at);
    Err(PortError::corrupt(
        "finish blob",
        format!("a head of {length} bytes at {at} does not fit into {len_bytes} bytes or one chunk"),
    ))
}

/// Makes the store `url` names, without waiting for its server. A directory that is missing is made.
///
/// # Errors
/// `UnknownScheme` for anything but `file:` and `mongodb:`; `Invalid` for a URL the driver cannot read; `Io` when the
/// directory cannot be made.
pub fn connect(url: &BackendUrl) -> Result<Arc<dyn BlobStore>, ConnectError> {
    match url.scheme() {
        "file" => Ok(Arc::new(LocalBlobStore::open(Path::new(url.path()))?)),
        "mongodb" => Ok(Arc::new(GridFsBlobStore::new(mongo::client(url)?, ""))),
        scheme => Err(ConnectError::UnknownScheme {
            port: "BLOBS_URL",
            scheme: scheme.to_owned(),
            expected: "file: or mongodb:",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_scheme_chooses_the_adapter() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = format!("file:{}/blobs", scratch.path().display());
        assert!(connect(&directory.parse().unwrap()).is_ok());
        assert!(connect(&"mongodb://127.0.0.1:9".parse().unwrap()).is_ok());
        assert!(matches!(
            connect(&"sqlite:blobs.db".parse().unwrap()),
            Err(ConnectError::UnknownScheme { .. })
        ));
    }
}
