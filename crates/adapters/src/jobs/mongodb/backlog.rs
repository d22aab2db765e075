//! What waits, for those who watch.

use std::time::Duration;

use domain::{Announcement, Backlog, Step};
use futures_util::TryStreamExt as _;
use mongodb::bson::doc;
use mongodb::error::Error;

use super::{Jobs, adopt, steps};

pub(super) async fn backlog(jobs: Jobs, step: Step) -> Result<Backlog, Error> {
    let pipeline = [
        doc! { "$match": steps::claimable(step) },
        doc! { "$group": { "_id": null, "due": { "$sum": 1_i64 }, "oldest": { "$min": "$created_at" } } },
        // A clock that was set back makes the oldest job as old as none.
        doc! { "$project": { "due": 1, "age_ms": { "$max": [0_i64, { "$subtract": ["$$NOW", "$oldest"] }] } } },
    ];
    let found = jobs.aggregate(pipeline).await?.try_next().await?;
    Ok(found.map_or_else(Backlog::default, |found| {
        let number = |field| found.get_i64(field).ok().and_then(|value| u64::try_from(value).ok());
        Backlog {
            due: number("due").unwrap_or_default(),
            oldest: number("age_ms").map(Duration::from_millis),
        }
    }))
}

pub(super) async fn unannounced(jobs: Jobs, announcement: Announcement) -> Result<u64, Error> {
    let (announcement, state) = adopt::names(announcement);
    jobs.count_documents(doc! { "announcement": announcement, "state": state })
        .await
}
