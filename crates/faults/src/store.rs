//! What the stores themselves hold: for orphans, which nobody outside can see.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Database};
use serde_json::Value;

/// Both buckets.
pub(crate) struct Stores {
    pub(crate) videos: Files,
    pub(crate) mp3s: Files,
}

/// The files of a bucket.
pub(crate) struct Files {
    /// By id, with the job that their metadata names.
    pub(crate) whole: BTreeMap<String, String>,
    /// The ids of files with missing, doubled or left-over chunks.
    pub(crate) spoilt: BTreeSet<String>,
}

impl Stores {
    /// Looks at everything.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) async fn look(url: &str) -> anyhow::Result<Self> {
        let client = Client::with_uri_str(url).await?;
        let videos = files(&client.database("videos")).await?;
        let mp3s = files(&client.database("mp3s")).await?;
        client.shutdown().await;
        Ok(Self { videos, mp3s })
    }

    /// Looks at the files below the directory of a local blob store.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn look_below(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            videos: files_in(&directory.join("videos"))?,
            mp3s: files_in(&directory.join("mp3s"))?,
        })
    }
}

/// What is in a directory of the local blob store: `ID`, `ID.json` beside it, and `ID.part` while it is written.
fn files_in(directory: &Path) -> anyhow::Result<Files> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let mut files = Files {
        whole: BTreeMap::new(),
        spoilt: BTreeSet::new(),
    };
    for name in &names {
        let (id, suffix) = name.split_once('.').unwrap_or((name, ""));
        let whole = names.contains(id) && names.contains(&format!("{id}.json"));
        if !whole || !matches!(suffix, "" | "json") {
            files.spoilt.insert(id.to_owned());
        } else if suffix == "json" {
            let about: Value = serde_json::from_slice(&std::fs::read(directory.join(name))?)?;
            let job = about["job"].as_str().unwrap_or_default();
            files.whole.insert(id.to_owned(), job.to_owned());
        }
    }
    Ok(files)
}

async fn files(bucket: &Database) -> anyhow::Result<Files> {
    let documents: Vec<Document> = bucket.collection("fs.files").find(doc! {}).await?.try_collect().await?;
    let mut whole = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for document in &documents {
        let id = hex(document.get("_id"));
        let job = document
            .get_document("metadata")
            .ok()
            .map(|metadata| hex(metadata.get("job")));
        let number = |name| document.get(name).map_or(0, integer);
        expected.insert(
            id.clone(),
            (number("length") + number("chunkSize") - 1) / number("chunkSize").max(1),
        );
        whole.insert(id, job.unwrap_or_default());
    }
    let count = doc! { "$group": {
        "_id": "$files_id",
        "chunks": { "$sum": 1 },
        "numbers": { "$addToSet": "$n" },
        "last": { "$max": "$n" },
    } };
    let counted = bucket.collection::<Document>("fs.chunks").aggregate([count]).await?;
    let mut spoilt = BTreeSet::new();
    for group in counted.try_collect::<Vec<Document>>().await? {
        let id = hex(group.get("_id"));
        let chunks = group.get("chunks").map_or(0, integer);
        let numbers = i64::try_from(group.get_array("numbers")?.len())?;
        let last = group.get("last").map_or(0, integer);
        let right = expected.remove(&id) == Some(chunks) && numbers == chunks && last == chunks - 1;
        if !right {
            spoilt.insert(id);
        }
    }
    // Files whose chunks are all gone.
    spoilt.extend(expected.into_iter().filter(|(_, chunks)| *chunks > 0).map(|(id, _)| id));
    Ok(Files { whole, spoilt })
}

fn hex(value: Option<&Bson>) -> String {
    match value {
        Some(Bson::ObjectId(id)) => id.to_hex(),
        Some(Bson::String(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn integer(value: &Bson) -> i64 {
    value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or(0)
}
