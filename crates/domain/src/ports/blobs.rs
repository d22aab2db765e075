//! The files: videos and MP3s.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::{Address, Fid, JobId, PortError, Timestamp};

/// The value of `metadata.writer` in every file of ours.
pub const OWN_WRITER: &str = "mp3converter";

/// Which files: in MongoDB the databases `videos` and `mp3s`, each a GridFS bucket `fs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Uploads.
    Videos,
    /// Results.
    Mp3s,
}

impl Bucket {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Videos, Self::Mp3s];

    /// The bucket's name: a MongoDB database, a directory.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Videos => "videos",
            Self::Mp3s => "mp3s",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a file before its first byte.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// The file's id; never one that was used before.
    pub id: Fid,
    /// The job it belongs to.
    pub job: JobId,
    /// Whose it is.
    pub owner: Address,
    /// The name a download gets, without directories.
    pub filename: String,
}

/// A stored file.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Its id.
    pub id: Fid,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Its name. None where the writer gave none.
    pub filename: Option<String>,
    /// When it was stored, by its writer's clock.
    pub created_at: Timestamp,
    /// `metadata.writer` is [`OWN_WRITER`].
    pub ours: bool,
    /// `metadata.job`.
    pub job: Option<JobId>,
    /// `metadata.owner`.
    pub owner: BlobOwner,
    /// `metadata.sha256`: the SHA-256 of its bytes, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
}

/// Whose a stored file is, as far as it says so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobOwner {
    /// It says nothing: it belongs to the job that names it, else to nobody.
    Unstated,
    /// This account's.
    Stated(Address),
    /// It names an owner that no account can be. Nobody may have it, not even where unowned files are shared.
    Unreadable,
}

impl BlobOwner {
    /// What the text of `metadata.owner` says.
    pub fn from_text(owner: Option<&str>) -> Self {
        match owner.map(str::parse) {
            None => Self::Unstated,
            Some(Ok(owner)) => Self::Stated(owner),
            Some(Err(_)) => Self::Unreadable,
        }
    }
}

/// Bytes that replace others of a file before it becomes visible: an MP3's first frame holds numbers that are known
/// only at its end, and an ID3v2 tag of any size stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the first of them belongs, counted from the beginning of the file.
    pub at: u64,
    /// At most one chunk (255 KiB), and all within what was written.
    pub bytes: Bytes,
}

/// The space of the place where files are stored, whoever else fills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes; more than zero.
    pub total_bytes: u64,
    /// What may still be written, in bytes; at most the total.
    pub free_bytes: u64,
}

/// The bytes of a range, in order. A stream that ends early or finds a hole yields an error, never silence.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, PortError>> + Send>>;

/// Files by id: a directory, or MongoDB GridFS to its specification (255 KiB chunks).
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Begins a file. Nothing is visible until [`BlobWriter::finish`].
    ///
    /// # Errors
    /// `Conflict` when a file of that id exists (at the latest when finishing); `Full`.
    async fn put(&self, bucket: Bucket, blob: NewBlob) -> Result<Box<dyn BlobWriter>, PortError>;

    /// What is known of a file, if it exists.
    async fn stat(&self, bucket: Bucket, id: Fid) -> Result<Option<Blob>, PortError>;

    /// The bytes of `range` of a file, which is cut at the file's end; None when there is no such file.
    ///
    /// Fetches only the chunks the range touches, in pieces of at most a few MiB whatever the range; memory does not
    /// depend on it. Dropping the stream stops the fetching.
    async fn read(&self, bucket: Bucket, id: Fid, range: Range<u64>) -> Result<Option<BlobStream>, PortError>;

    /// Removes a file and every part of it, finished or not. Removing what is not there is fine.
    async fn delete(&self, bucket: Bucket, id: Fid) -> Result<(), PortError>;

    /// At most `limit` finished files with our `metadata.writer`, in the order of their ids, those after `after`.
    async fn list_ours(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Blob>, PortError>;

    /// How many finished files there are, whoever wrote them.
    async fn count(&self, bucket: Bucket) -> Result<u64, PortError>;

    /// At most `limit` ids that have parts but no finished file, in ascending order, those after `after`: uploads in
    /// flight, and what crashes left behind.
    async fn list_unfinished(&self, bucket: Bucket, after: Option<Fid>, limit: u32) -> Result<Vec<Fid>, PortError>;

    /// How much space there is; None when the server does not say.
    async fn space(&self) -> Result<Option<Space>, PortError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), PortError>;
}

/// A file being written. Dropping it is [`abort`](Self::abort) on a best effort.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends bytes. Dropping the returned future before it ends spoils the writer: only abort it then.
    ///
    /// # Errors
    /// `Full`, `Unavailable`; the writer is spoilt and can only be aborted.
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError>;

    /// Puts `head` in its place, makes the file visible, whole and durable, and says what was stored.
    ///
    /// # Errors
    /// `Corrupt` when the head is longer than a chunk or goes beyond what was written. On any error the file is not visible, now or later, or the id is spoilt: never finish the same id again.
    async fn finish(self: Box<Self>, head: Option<Head>) -> Result<Blob, PortError>;

    /// Gives up: removes what was written. Nothing was ever visible.
    async fn abort(self: Box<Self>);
}
