//! The indexes of a bucket. Without the one on chunks, every read scans the whole collection; without its being unique,
//! a file can have a chunk twice.

use mongodb::IndexModel;
use mongodb::bson::doc;
use mongodb::error::Result;
use mongodb::options::IndexOptions;

use super::bucket::Bucket;
use crate::mongo::{error_codes, is_duplicate_key};

/// An index of the same keys exists with another name or other options.
const INDEX_OPTIONS_CONFLICT: i32 = 85;
/// An index of the same name exists with other options.
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;

/// Makes the specification's two indexes, or leaves what is there. The driver of some languages makes the one on chunks
/// not unique; it is used as it is, with one warning.
pub(super) async fn make(bucket: &Bucket) -> Result<()> {
    let chunks = doc! { "files_id": 1, "n": 1 };
    let unique = IndexModel::builder()
        .keys(chunks.clone())
        .options(IndexOptions::builder().unique(true).build())
        .build();
    match bucket.chunks.create_index(unique).await {
        Ok(_) => {}
        Err(error) if exists_otherwise(&error) => warn_not_unique(bucket),
        Err(error) if is_duplicate_key(&error) => {
            warn_not_unique(bucket);
            let plain = IndexModel::builder().keys(chunks).build();
            bucket.chunks.create_index(plain).await?;
        }
        Err(error) => return Err(error),
    }

    let by_name = IndexModel::builder()
        .keys(doc! { "filename": 1, "uploadDate": 1 })
        .build();
    match bucket.files.create_index(by_name).await {
        Err(error) if !exists_otherwise(&error) => Err(error),
        _ => Ok(()),
    }
}

fn exists_otherwise(error: &mongodb::error::Error) -> bool {
    let codes = error_codes(error);
    codes.contains(&INDEX_OPTIONS_CONFLICT) || codes.contains(&INDEX_KEY_SPECS_CONFLICT)
}

fn warn_not_unique(bucket: &Bucket) {
    tracing::warn!(
        database = bucket.database.name(),
        "the index {{files_id, n}} of fs.chunks is not unique: the server will not notice a chunk stored twice; \
         drop it and restart to have it made anew"
    );
}
