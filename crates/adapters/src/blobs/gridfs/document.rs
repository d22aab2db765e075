//! A files document: ours as written, anybody's as read.

use domain::{Blob, BlobOwner, Fid, NewBlob, OWN_WRITER, PortError, Space, Timestamp};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};

use crate::blobs::{CHUNK_BYTES, digest};

/// A file as its files document describes it.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) blob: Blob,
    /// The bytes of every chunk but the last; foreign files may have chosen another size than ours.
    pub(super) chunk_bytes: u64,
}

pub(super) fn object_id(id: Fid) -> ObjectId {
    ObjectId::from_bytes(id.bytes())
}

/// Matches the ObjectIds after `after`, or all of them, and no id of another type.
pub(super) fn after(after: Option<Fid>) -> Document {
    match after {
        Some(id) => doc! { "$gt": object_id(id) },
        None => doc! { "$gte": ObjectId::from_bytes([0; 12]) },
    }
}

/// The document of a file of ours. `metadata.job` is an ObjectId, as is the `_id` it names.
pub(super) fn write(blob: &NewBlob, stored: &Stored) -> Document {
    doc! {
        "_id": object_id(blob.id),
        "length": stored.length,
        "chunkSize": i32::try_from(CHUNK_BYTES).unwrap_or(i32::MAX),
        "uploadDate": DateTime::from_millis(stored.at.unix_ms()),
        "filename": &blob.filename,
        "metadata": {
            "writer": OWN_WRITER,
            "job": object_id(blob.job),
            "owner": blob.owner.as_str(),
            "sha256": &stored.sha256,
        },
    }
}

/// What is known of a file once its last byte is stored.
pub(super) struct Stored {
    pub(super) length: i64,
    pub(super) at: Timestamp,
    pub(super) sha256: String,
}

/// Reads anybody's files document: `length` and `chunkSize` of any numeric type, everything else optional.
///
/// # Errors
/// `Corrupt` when the id is not an ObjectId or the sizes make no sense.
pub(super) fn parse(operation: &'static str, file: &Document) -> Result<File, PortError> {
    let corrupt = |what: &str| {
        let id = file.get("_id").map(ToString::to_string).unwrap_or_default();
        PortError::corrupt(operation, format!("files document {id}: {what}"))
    };
    let id = file
        .get_object_id("_id")
        .map(|id| Fid::from(id.bytes()))
        .map_err(|_| corrupt("the id is not an ObjectId"))?;
    let len_bytes = file
        .get("length")
        .and_then(whole_number)
        .ok_or_else(|| corrupt("no usable length"))?;
    let chunk_bytes = file
        .get("chunkSize")
        .and_then(whole_number)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| corrupt("no usable chunkSize"))?;
    let created_at = match file.get_datetime("uploadDate") {
        Ok(date) => Timestamp::from_unix_ms(date.timestamp_millis()),
        Err(_) => Timestamp::from_unix_ms(i64::from(id.created_unix_seconds()) * 1000),
    };

    let metadata = file.get_document("metadata").ok();
    let text = |key: &str| metadata.and_then(|metadata| metadata.get_str(key).ok());
    Ok(File {
        blob: Blob {
            id,
            len_bytes,
            filename: file.get_str("filename").ok().map(str::to_owned),
            created_at,
            ours: text("writer") == Some(OWN_WRITER),
            job: metadata.and_then(|metadata| metadata.get("job")).and_then(fid),
            owner: owner(metadata.and_then(|metadata| metadata.get("owner"))),
            sha256: text("sha256").and_then(digest::well_formed),
        },
        chunk_bytes,
    })
}

/// What `dbStats` says of the server's disk; None where it says nothing.
pub(super) fn space(stats: &Document) -> Option<Space> {
    let total_bytes = stats
        .get("fsTotalSize")
        .and_then(whole_number)
        .filter(|&bytes| bytes > 0)?;
    let used_bytes = stats.get("fsUsedSize").and_then(whole_number)?;
    Some(Space {
        total_bytes,
        free_bytes: total_bytes.saturating_sub(used_bytes),
    })
}

fn owner(value: Option<&Bson>) -> BlobOwner {
    match value {
        None | Some(Bson::Null) => BlobOwner::from_text(None),
        Some(Bson::String(text)) => BlobOwner::from_text(Some(text)),
        Some(_) => BlobOwner::Unreadable,
    }
}

fn fid(value: &Bson) -> Option<Fid> {
    match value {
        Bson::ObjectId(id) => Some(Fid::from(id.bytes())),
        Bson::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number that is not negative and has no fraction. Shells and drivers write doubles and 32 bits too.
fn whole_number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        // Above 2^53 a double no longer holds every whole number.
        Bson::Double(number) if (0.0..=9_007_199_254_740_992.0).contains(number) => {
            format!("{number:.1}").strip_suffix(".0")?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign() -> Document {
        doc! { "_id": ObjectId::new(), "length": 7.0, "chunkSize": 1024_i64, "filename": null }
    }

    #[test]
    fn a_file_of_ours_reads_back() {
        let blob = NewBlob {
            id: Fid::new(),
            job: Fid::new(),
            owner: "Ada@example.com".parse().unwrap(),
            filename: "talk.mp4".to_owned(),
        };
        let stored = Stored {
            length: 5_000_000_000,
            at: Timestamp::from_unix_ms(1_700_000_000_123),
            sha256: "0".repeat(64),
        };
        let document = write(&blob, &stored);
        assert_eq!(document.get("length"), Some(&Bson::Int64(5_000_000_000)));
        assert_eq!(document.get("chunkSize"), Some(&Bson::Int32(261_120)));

        let file = parse("test", &document).unwrap();
        assert_eq!(file.chunk_bytes, 261_120);
        assert_eq!(
            file.blob,
            Blob {
                id: blob.id,
                len_bytes: 5_000_000_000,
                filename: Some(blob.filename),
                created_at: stored.at,
                ours: true,
                job: Some(blob.job),
                owner: BlobOwner::Stated(blob.owner),
                sha256: Some(stored.sha256),
            }
        );
    }

    #[test]
    fn a_foreign_file_may_lack_all_but_id_and_sizes() {
        let file = parse("test", &foreign()).unwrap();
        assert_eq!((file.blob.len_bytes, file.chunk_bytes), (7, 1024));
        assert!(!file.blob.ours);
        assert_eq!((file.blob.filename, file.blob.job), (None, None));
        assert_eq!(file.blob.owner, BlobOwner::Unstated);
    }

    #[test]
    fn a_job_may_be_named_by_its_text() {
        let job = Fid::new();
        let mut document = foreign();
        document.insert("metadata", doc! { "job": job.to_string(), "owner": 7 });
        assert_eq!(parse("test", &document).unwrap().blob.job, Some(job));
    }

    #[test]
    fn a_file_whose_owner_cannot_be_read_is_not_one_without_an_owner() {
        for unreadable in [Bson::Int32(7), " ada ".into(), "".into(), Bson::Document(doc! {})] {
            let mut document = foreign();
            document.insert("metadata", doc! { "owner": unreadable.clone() });
            let owner = parse("test", &document).unwrap().blob.owner;
            assert_eq!(owner, BlobOwner::Unreadable, "{unreadable}");
        }
        let mut document = foreign();
        document.insert("metadata", doc! { "owner": null });
        assert_eq!(parse("test", &document).unwrap().blob.owner, BlobOwner::Unstated);
    }

    #[test]
    fn the_space_is_what_the_server_says_of_its_disk_if_it_does() {
        let stats = doc! { "fsTotalSize": 1000.0, "fsUsedSize": 400_i64, "ok": 1 };
        let expected = Space {
            total_bytes: 1000,
            free_bytes: 600,
        };
        assert_eq!(space(&stats), Some(expected));
        assert_eq!(space(&doc! { "fsTotalSize": 0, "fsUsedSize": 0 }), None);
        assert_eq!(space(&doc! { "dataSize": 1 }), None);
    }

    #[test]
    fn sizes_that_make_no_sense_are_corrupt() {
        for (key, value) in [
            ("length", Bson::Double(1.5)),
            ("length", Bson::Double(f64::NAN)),
            ("length", Bson::Int64(-1)),
            ("length", Bson::Null),
            ("chunkSize", Bson::Int32(0)),
            ("chunkSize", Bson::String("255".to_owned())),
            ("_id", Bson::Int32(1)),
        ] {
            let mut document = foreign();
            document.insert(key, value.clone());
            let outcome = parse("test", &document);
            assert!(matches!(outcome, Err(PortError::Corrupt { .. })), "{key}: {value}");
        }
    }
}
