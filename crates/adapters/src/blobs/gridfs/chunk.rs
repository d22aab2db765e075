//! One chunk document, as it is written and read.

use std::hash::{BuildHasher, RandomState};

use domain::{Fid, PortError};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::{RawBinaryRef, RawBsonRef, cstr};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};

use super::document::object_id;

/// The greatest chunk number that fits an id of [`Serial`]: our files end at 4 TiB.
const LAST_NUMBER: u32 = 0x00ff_ffff;

/// What one writer's chunks have in common, so that it can take back its own and nobody else's.
///
/// Their ids are ObjectIds by the book: the second the writer began, five random bytes, and a counter, which here is
/// the chunk's number.
#[derive(Clone, Copy)]
pub(super) struct Serial([u8; 9]);

impl Serial {
    pub(super) fn new() -> Self {
        let now = Fid::new();
        let random = RandomState::new().hash_one(now);
        let mut serial = [0; 9];
        serial[..4].copy_from_slice(&now.bytes()[..4]);
        serial[4..].copy_from_slice(&random.to_be_bytes()[..5]);
        Self(serial)
    }

    /// Matches the chunks of file `id` that carry this serial.
    pub(super) fn own_chunks(self, id: Fid) -> Document {
        doc! {
            "files_id": object_id(id),
            "_id": { "$gte": self.chunk_id(0), "$lte": self.chunk_id(LAST_NUMBER) },
        }
    }

    /// Matches chunk `number` of file `id` if it carries this serial.
    pub(super) fn own_chunk(self, id: Fid, number: u32) -> Document {
        doc! { "_id": self.chunk_id(number), "files_id": object_id(id) }
    }

    fn chunk_id(self, number: u32) -> ObjectId {
        let mut id = [0; 12];
        id[..9].copy_from_slice(&self.0);
        id[9..].copy_from_slice(&number.to_be_bytes()[1..]);
        ObjectId::from_bytes(id)
    }
}

/// The document of chunk `number` of file `id`.
///
/// # Errors
/// `Full` beyond 4 TiB.
pub(super) fn write(serial: Serial, id: Fid, number: u32, bytes: &[u8]) -> Result<RawDocumentBuf, PortError> {
    if number > LAST_NUMBER {
        return Err(PortError::Full {
            operation: "write blob".into(),
        });
    }
    let mut chunk = RawDocumentBuf::new();
    chunk.append(cstr!("_id"), serial.chunk_id(number));
    chunk.append(cstr!("files_id"), object_id(id));
    chunk.append(cstr!("n"), number.cast_signed());
    chunk.append(
        cstr!("data"),
        RawBinaryRef {
            subtype: BinarySubtype::Generic,
            bytes,
        },
    );
    Ok(chunk)
}

/// The bytes of `chunk` when it is number `number` and `length` bytes long; otherwise how it differs.
pub(super) fn read(chunk: &RawDocument, number: u64, length: u64) -> Result<&[u8], String> {
    let found = match chunk.get("n") {
        Ok(Some(RawBsonRef::Int32(found))) => Some(i64::from(found)),
        Ok(Some(RawBsonRef::Int64(found))) => Some(found),
        _ => None,
    };
    if found.and_then(|found| u64::try_from(found).ok()) != Some(number) {
        let found = found.map_or("one without a number".to_owned(), |found| found.to_string());
        return Err(format!("expected chunk {number}, found {found}"));
    }
    let bytes = match chunk.get("data") {
        Ok(Some(RawBsonRef::Binary(data))) => data.bytes,
        _ => return Err(format!("chunk {number} has no binary data")),
    };
    if u64::try_from(bytes.len()).ok() != Some(length) {
        let found = bytes.len();
        return Err(format!("chunk {number} has {found} bytes, expected {length}"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_reads_back_and_nothing_else_passes_for_it() {
        let chunk = write(Serial::new(), Fid::new(), 3, b"abc").unwrap();
        assert_eq!(read(&chunk, 3, 3), Ok(b"abc".as_slice()));
        assert!(read(&chunk, 2, 3).unwrap_err().contains("found 3"));
        assert!(read(&chunk, 3, 4).unwrap_err().contains("3 bytes"));
        assert!(read(&RawDocumentBuf::new(), 0, 0).is_err());
    }

    #[test]
    fn writers_of_one_file_have_different_serials() {
        assert_ne!(Serial::new().0, Serial::new().0);
    }

    #[test]
    fn a_file_ends_at_four_tebibytes() {
        let outcome = write(Serial::new(), Fid::new(), LAST_NUMBER + 1, b"");
        assert!(matches!(outcome, Err(PortError::Full { .. })));
    }
}
