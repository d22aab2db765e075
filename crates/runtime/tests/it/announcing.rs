//! The announcer: what a broker never confirmed.

use std::sync::Arc;

use domain::{Announcement, VIDEO_QUEUE};
use runtime::Announcer;
use testkit::{HANG, until};

use crate::worker::{Act, Bench};

#[tokio::test]
async fn what_no_broker_confirmed_is_announced_again_until_one_does() {
    let bench = Bench::new(Act::Convert, &[]);
    let id = bench.queued_job().await;
    // Whoever committed it is gone for longer than its lease.
    bench
        .alter("UPDATE jobs SET announcement_owed_at = 1 WHERE announcement IS NOT NULL")
        .await;
    let mut consumer = bench.queue.consume(VIDEO_QUEUE, 1);
    let announcer = Announcer {
        jobs: Arc::clone(&bench.jobs),
        queue: Arc::clone(&bench.queue),
        queue_name: VIDEO_QUEUE.to_owned(),
        announcement: Announcement::Video,
        life: bench.life.clone(),
    };
    bench.life.spawn(announcer.run());
    let delivery = tokio::time::timeout(HANG, consumer.next())
        .await
        .expect("it is announced");
    assert_eq!(delivery.message.as_ref().map(|message| message.video_fid), Ok(id));
    until("it is not owed any more", async || {
        bench
            .alter("UPDATE jobs SET announcement_owed_at = 1 WHERE announcement IS NOT NULL")
            .await;
        let owed = bench.jobs.claim_announcement(Announcement::Video).await.unwrap();
        owed.is_none().then_some(())
    })
    .await;
    bench.life.shut_down(HANG).await;
}
