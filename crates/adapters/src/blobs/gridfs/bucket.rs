//! One GridFS bucket: its two collections and whether their indexes are known to be there.

use std::sync::Arc;

use domain::{Fid, PortError};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection, Database};
use tokio::sync::OnceCell;

use super::document::{self, File};
use super::indexes;
use crate::mongo::{self, DEADLINE};

#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) database: Database,
    pub(super) files: Collection<Document>,
    pub(super) chunks: Collection<RawDocumentBuf>,
    indexed: Arc<OnceCell<()>>,
}

impl Bucket {
    /// The bucket `fs` of the database `name`.
    pub(super) fn new(client: &Client, name: &str) -> Self {
        let database = client.database(name);
        Self {
            files: database.collection("fs.files"),
            chunks: database.collection("fs.chunks"),
            database,
            indexed: Arc::default(),
        }
    }

    /// Makes the specification's indexes, once, tried again until it succeeds. Two processes may do it at once.
    pub(super) async fn prepare(&self) -> Result<(), PortError> {
        const OPERATION: &str = "index blobs";

        let made = self.indexed.get_or_try_init(|| {
            let bucket = self.clone();
            mongo::complete(OPERATION, async move { indexes::make(&bucket).await })
        });
        // While the server is away, callers fail one after the other: the last of a queue must not wait for them all.
        let made = tokio::time::timeout(DEADLINE, made).await;
        made.map_err(|elapsed| PortError::unavailable(OPERATION, elapsed))?
            .copied()
    }

    /// The files document of `id`.
    pub(super) async fn file(&self, operation: &'static str, id: Fid) -> Result<Option<File>, PortError> {
        let files = self.files.clone();
        mongo::complete(operation, async move {
            files.find_one(doc! { "_id": document::object_id(id) }).await
        })
        .await?
        .map(|found| document::parse(operation, &found))
        .transpose()
    }
}
