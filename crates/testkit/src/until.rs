//! Waiting for what must happen.

use std::time::Duration;

/// How long anything may take before a test calls it a hang. It says nothing about how fast things should be: the
/// machine may be busy, and a broker takes its time to start.
pub const HANG: Duration = Duration::from_secs(300);

/// Between two questions: short for who waits, and long enough for others to get on.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer, and gives it.
///
/// # Panics
/// After [`HANG`], with `what` was waited for.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answered = tokio::time::timeout(HANG, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    answered.await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_is_given() {
        let mut asked = 0;
        let answer = until("the third time", async || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!((answer.await, asked), ("yes", 3));
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited in vain: what never happens")]
    async fn a_wait_has_an_end() {
        until("what never happens", async || None::<()>).await;
    }
}
