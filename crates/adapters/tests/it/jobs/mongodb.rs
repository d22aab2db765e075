//! Job records in MongoDB.

use std::sync::Arc;
use std::time::Duration;

use adapters::jobs::MongoJobStore;
use anyhow::Result;
use async_trait::async_trait;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use testkit::conformance::jobs::{Ageing, Bench};
use testkit::servers::TestMongo;

/// The collection as the suite moves its times.
struct Records(Collection<Document>);

#[async_trait]
impl Ageing for Records {
    async fn age(&self, by: Duration) -> Result<()> {
        let by = i64::try_from(by.as_millis())?;
        let mut fields = Document::new();
        for time in super::TIMES {
            let path = format!("${time}");
            let is_set = doc! { "$eq": [{ "$type": &path }, "date"] };
            fields.insert(
                time,
                doc! { "$cond": [is_set, { "$subtract": [&path, by] }, "$$REMOVE"] },
            );
        }
        self.0.update_many(doc! {}, vec![doc! { "$set": fields }]).await?;
        Ok(())
    }
}

async fn bench(server: &TestMongo) -> Result<Bench> {
    let open = || adapters::mongo::client(&server.url);
    let records = open()?.database(&format!("{}jobs", server.prefix)).collection("jobs");
    Ok(Bench {
        store: Arc::new(MongoJobStore::new(open()?, &server.prefix)),
        other: Arc::new(MongoJobStore::new(open()?, &server.prefix)),
        ageing: Box::new(Records(records)),
    })
}

async fn open() -> Result<Bench> {
    bench(&testkit::servers::mongodb().await).await
}

mod conformance {
    testkit::job_store_suite!(super::open);
}
