//! Job records in MongoDB: the suite, and what a server shared by replicas adds.

mod failover;
mod outage;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adapters::jobs::MongoJobStore;
use anyhow::{Context, Result};
use async_trait::async_trait;
use domain::{Announcement, Bucket, Fid, JobStore, PortError, Reference, Settlement, Step};
use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use testkit::conformance::jobs::{Ageing, BEYOND_A_LEASE, Bench, ada, attempt_of, converted, failed, new_job};
use testkit::servers::TestMongo;
use tokio::task::JoinSet;

mod conformance {
    testkit::job_store_suite!(super::open);
}

/// The database as the suite moves its times.
struct Records(Database);

#[async_trait]
impl Ageing for Records {
    async fn age(&self, by: Duration) -> Result<()> {
        self.move_times(-i64::try_from(by.as_millis())?).await
    }

    async fn set_clock_back(&self, by: Duration) -> Result<()> {
        self.move_times(i64::try_from(by.as_millis())?).await
    }
}

impl Records {
    /// Moves every time of every record that is not 1970 by this much.
    async fn move_times(&self, milliseconds: i64) -> Result<()> {
        let mut fields = Document::new();
        for time in super::TIMES {
            let path = format!("${time}");
            let is_set = doc! { "$eq": [{ "$type": &path }, "date"] };
            let is_1970 = doc! { "$eq": [&path, DateTime::from_millis(0)] };
            let moved = doc! { "$cond": [is_1970, &path, { "$add": [&path, milliseconds] }] };
            fields.insert(time, doc! { "$cond": [is_set, moved, "$$REMOVE"] });
        }
        let jobs = self.0.collection::<Document>("jobs");
        jobs.update_many(doc! {}, vec![doc! { "$set": fields }]).await?;
        let moved = doc! { "until": { "$add": ["$until", milliseconds] } };
        let charges = self.0.collection::<Document>("charges");
        charges.update_many(doc! {}, vec![doc! { "$set": moved }]).await?;
        Ok(())
    }
}

/// The database as an operator sees it.
fn database(server: &TestMongo) -> Result<Database> {
    let client = adapters::mongo::client(&server.url)?;
    Ok(client.database(&format!("{}jobs", server.prefix)))
}

fn store(server: &TestMongo) -> Result<MongoJobStore> {
    let client = adapters::mongo::client(&server.url)?;
    Ok(MongoJobStore::new(client, &server.prefix))
}

fn bench(server: &TestMongo) -> Result<Bench> {
    Ok(Bench {
        store: Arc::new(store(server)?),
        other: Arc::new(store(server)?),
        ageing: Box::new(Records(database(server)?)),
    })
}

async fn open() -> Result<Bench> {
    bench(&testkit::servers::mongodb().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_may_start_at_once_on_an_empty_database() -> Result<()> {
    let server = testkit::servers::mongodb().await;
    let mut starts = JoinSet::new();
    for _ in 0..6 {
        let store = store(&server)?;
        starts.spawn(async move { store.create(new_job(ada())).await });
    }
    for started in starts.join_all().await {
        started?;
    }
    assert_eq!(store(&server)?.list(None, None, 100, None).await?.len(), 6);
    let jobs = database(&server)?.collection::<Document>("jobs");
    let indexes: BTreeSet<String> = jobs.list_index_names().await?.into_iter().collect();
    for index in [
        "by_owner",
        "by_state",
        "receiving",
        "to_convert",
        "to_tell",
        "unannounced",
        "by_mp3",
        "by_attempt",
    ] {
        assert!(indexes.contains(index), "{index} of {indexes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_record_speaks_the_words_of_the_domain() -> Result<()> {
    let server = testkit::servers::mongodb().await;
    let bench = bench(&server)?;
    let jobs = database(&server)?.collection::<Document>("jobs");
    let claim = bench.converting().await?;
    let id = ObjectId::from_bytes(claim.job.id.bytes());
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    let done = jobs.find_one(doc! { "_id": id }).await?.context("the record")?;
    assert_eq!(done.get_str("owner")?, ada().as_str());
    assert_eq!(done.get_str("state")?, "done");
    assert_eq!(done.get_f64("progress")?, 1.0);
    assert_eq!(done.get_str("filename")?, new_job(ada()).filename);
    assert_eq!(done.get_i64("size_bytes")?, 5_000_000_000);
    assert_eq!(done.get_document("options")?.get("bitrate"), Some(&Bson::Int32(320)));
    assert!(matches!(done.get("mp3_fid"), Some(Bson::ObjectId(_))));
    assert_eq!(done.get_i64("mp3_duration_ms")?, 3_600_000);
    assert_eq!(done.get_array("mp3_notes")?.len(), 1);
    assert_eq!(done.get("attempts").and_then(Bson::as_i32), Some(1));
    for time in ["created_at", "updated_at", "uploaded_at", "finished_at"] {
        assert!(matches!(done.get(time), Some(Bson::DateTime(_))), "{time}");
    }
    assert_eq!(done.get("reason"), None);

    let id = ObjectId::from_bytes(bench.ended(failed).await?.bytes());
    let failed = jobs.find_one(doc! { "_id": id }).await?.context("the record")?;
    assert_eq!(failed.get_document("reason")?.get_str("code")?, "no_audio");
    assert_eq!(failed.get("mp3_fid"), None);
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_reported_as_damaged() -> Result<()> {
    let server = testkit::servers::mongodb().await;
    let id = Fid::new();
    let jobs = database(&server)?.collection::<Document>("jobs");
    let foreign = doc! { "_id": ObjectId::from_bytes(id.bytes()), "state": "queued" };
    jobs.insert_one(foreign).await?;
    let read = store(&server)?.get(id).await;
    assert!(matches!(read, Err(PortError::Corrupt { .. })), "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_job_waiting() -> Result<()> {
    let server = testkit::servers::mongodb().await;
    let bench = bench(&server)?;
    let ids = [bench.queued().await?, bench.queued().await?, bench.queued().await?];
    let jobs = database(&server)?.collection::<Document>("jobs");
    for id in &ids[..2] {
        let spoil = doc! { "$set": { "options": "nonsense" } };
        jobs.update_one(doc! { "_id": ObjectId::from_bytes(id.bytes()) }, spoil)
            .await?;
    }
    for _ in 0..3 {
        let claim = bench.store.claim_due(Step::Convert).await?.context("one can be read")?;
        assert_eq!(claim.job.id, ids[2]);
        assert!(bench.store.settle(&claim, Settlement::Released).await?);
        bench.pass(BEYOND_A_LEASE).await?;
    }
    let attempts = jobs
        .find_one(doc! { "options": "nonsense" })
        .await?
        .context("the record")?;
    assert_eq!(
        attempts.get("attempts").and_then(Bson::as_i32),
        Some(1),
        "looked at once"
    );
    let asked = bench.store.claim(Step::Convert, ids[0]).await;
    assert!(matches!(asked, Err(PortError::Corrupt { .. })), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_record_names_a_bounded_number_of_attempts() -> Result<()> {
    let server = testkit::servers::mongodb().await;
    let bench = bench(&server)?;
    let id = bench.queued().await?;
    let mut attempts = Vec::new();
    for _ in 0..110 {
        let claim = bench.claim(Step::Convert, id).await?;
        attempts.push(attempt_of(&claim));
        assert!(bench.store.settle(&claim, Settlement::Released).await?);
    }
    let jobs = database(&server)?.collection::<Document>("jobs");
    let record = jobs.find_one(doc! {}).await?.context("the record")?;
    assert_eq!(record.get_array("attempt_fids")?.len(), 100);
    let references = bench.store.references(Bucket::Mp3s, &attempts[9..]).await?;
    assert_eq!(references[0], Reference::Unknown);
    assert!(references[1..].iter().all(|reference| *reference == Reference::Lost));
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() -> Result<()> {
    let url = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=50".parse()?;
    let store = MongoJobStore::new(adapters::mongo::client(&url)?, "");
    let asked = store.claim_due(Step::Convert).await;
    assert!(matches!(asked, Err(PortError::Unavailable { .. })), "{asked:?}");
    let asked = store.ping().await;
    assert!(matches!(asked, Err(PortError::Unavailable { .. })), "{asked:?}");
    Ok(())
}

/// What the server did for one operation, as its profiler tells.
struct Effort {
    plan: String,
    documents: i64,
    keys: i64,
    sorted: bool,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plan,
            documents,
            keys,
            sorted,
        } = self;
        write!(f, "{plan}: {documents} documents, {keys} keys, sorted: {sorted}")
    }
}

async fn efforts(database: &Database) -> Result<Vec<Effort>> {
    let profile = database.collection::<Document>("system.profile");
    let namespace = format!("{}.jobs", database.name());
    let found = profile
        .find(doc! { "ns": namespace, "planSummary": { "$exists": true } })
        .await?;
    let found: Vec<Document> = found.try_collect().await?;
    let number = |entry: &Document, name| entry.get(name).and_then(Bson::as_i32).map(i64::from);
    let effort = |entry: &Document| {
        Ok(Effort {
            plan: entry.get_str("planSummary")?.to_owned(),
            documents: number(entry, "docsExamined").context("documents")?,
            keys: number(entry, "keysExamined").context("keys")?,
            sorted: entry.get_bool("hasSortStage").unwrap_or(false),
        })
    };
    found.iter().map(effort).collect()
}

#[tokio::test]
async fn looking_for_work_does_not_read_finished_jobs() -> Result<()> {
    let server = testkit::servers::mongodb().await;
    let bench = bench(&server)?;
    let database = database(&server)?;
    let jobs = database.collection::<Document>("jobs");

    let claim = bench.converting().await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    bench.store.mark_announced(claim.job.id, Announcement::Mp3).await?;
    let mail = bench.claim(Step::Tell, claim.job.id).await?;
    assert!(bench.store.settle(&mail, Settlement::Told).await?);
    let id = ObjectId::from_bytes(claim.job.id.bytes());
    let finished = jobs.find_one(doc! { "_id": id }).await?.context("the record")?;
    let copies = (0..2_000).map(|_| {
        let mut copy = finished.clone();
        copy.insert("_id", ObjectId::new());
        copy.insert("mp3_fid", ObjectId::new());
        copy.insert("attempt_fids", vec![ObjectId::new()]);
        copy
    });
    jobs.insert_many(copies).await?;
    for _ in 0..100 {
        let waiting = bench.converting().await?;
        assert!(
            bench
                .store
                .settle(&waiting, Settlement::Retry(Duration::from_secs(600)))
                .await?
        );
        bench.store.mark_announced(waiting.job.id, Announcement::Video).await?;
    }
    bench.queued().await?;
    bench.receiving().await?;

    database.run_command(doc! { "profile": 2 }).await?;
    let store = &bench.store;
    let claim = store.claim_due(Step::Convert).await?.context("one is due")?;
    store.claim_due(Step::Tell).await?;
    store.lapsed_uploads(50).await?;
    store.claim_announcement(Announcement::Video).await?;
    store.claim_announcement(Announcement::Mp3).await?;
    store.find_by_mp3(Fid::new()).await?;
    store.references(Bucket::Mp3s, &[Fid::new(), Fid::new()]).await?;
    store.references(Bucket::Videos, &[Fid::new(), Fid::new()]).await?;
    store.list(Some(&ada()), None, 5, None).await?;
    assert!(store.settle(&claim, Settlement::Released).await?);
    database.run_command(doc! { "profile": 0 }).await?;

    let efforts = efforts(&database).await?;
    let texts: Vec<String> = efforts.iter().map(Effort::to_string).collect();
    assert_eq!(efforts.len(), 10, "{texts:#?}");
    for effort in &efforts {
        let indexed = effort.plan.starts_with("IXSCAN") || effort.plan.starts_with("IDHACK");
        let little = effort.documents <= 5 && effort.keys <= 250 && !effort.sorted;
        assert!(indexed && little, "{effort} of {texts:#?}");
    }
    Ok(())
}
