//! PyMongo's `gridfs` reads what we write, and we read what it writes.

use std::process::Command;

use domain::{Bucket, Fid, Head};
use testkit::conformance::blobs::python;
use testkit::conformance::blobs::support::{CHUNK_BYTES, new_blob, pattern, read, write_all};

use super::{Place, fresh};

/// Runs `script` with the server's URL, the database's name and `arguments`, and gives what it printed.
fn run(place: &Place, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(python())
        .args(["-c", script, place.mongo.url.expose()])
        .arg(place.database(Bucket::Videos).name())
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "python failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const READ: &str = r"
import hashlib, sys, bson, gridfs, pymongo
url, database, fid = sys.argv[1:]
file = gridfs.GridFS(pymongo.MongoClient(url)[database]).get(bson.ObjectId(fid))
data = file.read()
assert len(data) == file.length, (len(data), file.length)
assert file.chunk_size == 255 * 1024, file.chunk_size
assert file.metadata['writer'] == 'mp3converter', file.metadata
assert file.metadata['sha256'] == hashlib.sha256(data).hexdigest()
assert file.upload_date is not None
print(file.filename, len(data), hashlib.sha256(data).hexdigest())
";

const WRITE: &str = r"
import sys, bson, gridfs, pymongo
url, database, path = sys.argv[1:]
store = gridfs.GridFS(pymongo.MongoClient(url)[database])
with open(path, 'rb') as source:
    data = source.read()
print(store.put(data), store.put(b''), store.put(data, filename='talk.mp4', chunk_size=1000))
";

#[tokio::test]
async fn pymongo_reads_our_files() {
    let (store, place) = fresh().await;
    for length in [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5] {
        let mut writer = store.put(Bucket::Videos, new_blob()).await.unwrap();
        write_all(&mut writer, &pattern(0..length)).await;
        let head = Head {
            at: length / 2,
            bytes: vec![0; usize::try_from(length - length / 2).unwrap().min(1000)].into(),
        };
        let blob = writer.finish(Some(head)).await.unwrap();
        let told = run(&place, READ, &[&blob.id.to_string()]);
        let expected = format!(
            "{} {length} {}",
            blob.filename.unwrap_or_default(),
            blob.sha256.unwrap_or_default()
        );
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn we_read_pymongos_files() {
    let (store, place) = fresh().await;
    let bytes = pattern(0..2 * CHUNK_BYTES + 7);
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), &bytes).unwrap();
    let told = run(&place, WRITE, &[source.path().to_str().unwrap()]);
    let ids: Vec<Fid> = told.split(' ').map(|id| id.parse().unwrap()).collect();

    for (id, expected, filename) in [
        (ids[0], bytes.as_slice(), None),
        (ids[1], &[], None),
        (ids[2], &bytes, Some("talk.mp4")),
    ] {
        let found = read(&*store, Bucket::Videos, id, 0..u64::MAX).await.unwrap();
        assert!(found.as_deref() == Some(expected));
        let blob = store.stat(Bucket::Videos, id).await.unwrap().unwrap();
        assert!(!blob.ours);
        assert_eq!(blob.filename.as_deref(), filename);
        assert_eq!(blob.len_bytes, expected.len() as u64);
    }
    let range = CHUNK_BYTES - 3..CHUNK_BYTES + 3;
    let found = read(&*store, Bucket::Videos, ids[2], range.clone()).await.unwrap();
    assert!(found == Some(pattern(range)));
}
