//! What owners call their uploads.

use anyhow::{Context, Result};
use domain::{Address, IdempotencyKey, JobId, KeyedUpload, NewJob, PortError, ReasonCode, Step};

use super::{Bench, ada, address, converted, new_job, reason, uploaded};

/// Text that a query language might take for its own.
fn key() -> IdempotencyKey {
    "$key'--".parse().expect("a key")
}

fn keyed(owner: Address) -> NewJob {
    NewJob {
        key: Some(key()),
        ..new_job(owner)
    }
}

async fn found(bench: &Bench, owner: &Address) -> Result<Option<KeyedUpload>> {
    Ok(bench.other.find_by_key(owner, &key()).await?)
}

async fn receiving(bench: &Bench) -> Result<JobId> {
    let job = keyed(ada());
    let id = job.id;
    bench.store.create(job).await?;
    Ok(id)
}

/// From the first byte on, in any spelling of the owner; what it was is known from the commit on.
pub async fn a_key_names_one_upload_of_its_owner(bench: Bench) -> Result<()> {
    assert_eq!(found(&bench, &ada()).await?, None);
    let id = receiving(&bench).await?;
    let other_spelling = address(&ada().as_str().to_ascii_uppercase());
    let receiving = found(&bench, &other_spelling).await?.context("the key is taken")?;
    assert_eq!((receiving.job.id, receiving.sha256), (id, None));

    for owner in [ada(), other_spelling] {
        let second = keyed(owner);
        let second_id = second.id;
        let refused = bench.other.create(second).await;
        assert!(matches!(refused, Err(PortError::Conflict { .. })), "{refused:?}");
        assert_eq!(bench.store.get(second_id).await?, None);
    }
    let eve = address("eve@example.com");
    let eves = keyed(eve.clone());
    let eves_id = eves.id;
    bench.store.create(eves).await?;
    assert_eq!(found(&bench, &eve).await?.context("Eve's")?.job.id, eves_id);
    for _ in 0..2 {
        bench.store.create(new_job(ada())).await?;
    }

    assert!(bench.store.commit_upload(id, uploaded()).await?);
    let committed = found(&bench, &ada()).await?.context("still taken")?;
    assert_eq!(
        (committed.job, committed.sha256),
        (bench.job(id).await?, uploaded().sha256)
    );
    Ok(())
}

/// The other one hears of it.
pub async fn of_two_uploads_with_one_key_at_once_one_begins(bench: Bench) -> Result<()> {
    for round in 0..10 {
        let owner = address(&format!("ada{round}@example.com"));
        let (one, other) = (keyed(owner.clone()), keyed(owner));
        let (one, other) = tokio::join!(bench.store.create(one), bench.other.create(other));
        let refused = match (one, other) {
            (Ok(()), Err(refused)) | (Err(refused), Ok(())) => refused,
            both => anyhow::bail!("not one of them: {both:?}"),
        };
        assert!(matches!(refused, PortError::Conflict { .. }), "{refused:?}");
    }
    Ok(())
}

/// Interrupted or cancelled: who sends the file again wants it.
pub async fn the_key_of_an_upload_that_came_to_nothing_is_free_again(bench: Bench) -> Result<()> {
    let interrupted = receiving(&bench).await?;
    let because = reason(ReasonCode::UploadInterrupted);
    assert!(bench.store.fail_upload(interrupted, because).await?);
    assert_eq!(found(&bench, &ada()).await?, None);

    let cancelled = receiving(&bench).await?;
    assert!(bench.store.commit_upload(cancelled, uploaded()).await?);
    assert!(bench.store.cancel(cancelled, reason(ReasonCode::Cancelled)).await?);
    assert_eq!(found(&bench, &ada()).await?, None);

    let third = receiving(&bench).await?;
    assert_eq!(found(&bench, &ada()).await?.context("taken again")?.job.id, third);
    Ok(())
}

/// Whatever else became of the upload.
pub async fn a_key_stays_with_its_job(bench: Bench) -> Result<()> {
    let id = receiving(&bench).await?;
    assert!(bench.store.commit_upload(id, uploaded()).await?);
    let claim = bench.claim(Step::Convert, id).await?;
    assert!(bench.store.settle(&claim, converted(&claim)).await?);
    let done = found(&bench, &ada()).await?.context("of a job that is done")?;
    assert_eq!((done.job, done.sha256), (bench.job(id).await?, uploaded().sha256));
    Ok(())
}
