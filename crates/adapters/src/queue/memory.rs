//! A wake-up signal between the parts of one process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::{Consumer, Delivery, JobMessage, PortError, Queue, Settler};
use tokio::sync::Notify;

/// The most messages one queue holds; a further one drops the oldest, whose job the store still schedules.
const CAPACITY: usize = 1024;

/// The in-process [`Queue`]. Everything in the process that should hear each other shares one instance.
///
/// Publishing never waits. A message that was delivered is gone, settled or not: the job store brings the job back.
#[derive(Default)]
pub struct MemoryQueue {
    queues: Mutex<HashMap<String, Arc<Bell>>>,
}

/// One named queue.
#[derive(Default)]
struct Bell {
    waiting: Mutex<VecDeque<JobMessage>>,
    rung: Notify,
}

struct MemoryConsumer {
    bell: Arc<Bell>,
}

/// Nothing is kept of a delivery, so there is nothing to settle.
struct AlreadySettled;

impl MemoryQueue {
    fn bell(&self, queue: &str) -> Arc<Bell> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(queues.entry(queue.to_owned()).or_default())
    }
}

impl Bell {
    fn push(&self, message: JobMessage) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == CAPACITY {
            waiting.pop_front();
        }
        waiting.push_back(message);
        drop(waiting);
        self.rung.notify_one();
    }

    fn waiting(&self) -> u64 {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.len() as u64
    }

    fn pop(&self) -> Option<JobMessage> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let message = waiting.pop_front();
        if !waiting.is_empty() {
            // Several pushes may have left one permit only.
            self.rung.notify_one();
        }
        message
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn publish(&self, queue: &str, message: &JobMessage) -> Result<(), PortError> {
        self.bell(queue).push(message.clone());
        Ok(())
    }

    fn consume(&self, queue: &str, _prefetch: u16) -> Box<dyn Consumer> {
        Box::new(MemoryConsumer { bell: self.bell(queue) })
    }

    async fn depth(&self, queue: &str) -> Result<u64, PortError> {
        Ok(self.bell(queue).waiting())
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            if let Some(message) = self.bell.pop() {
                let mut delivery = Delivery::new(&[], Box::new(AlreadySettled));
                delivery.message = Ok(message);
                return delivery;
            }
            self.bell.rung.notified().await;
        }
    }
}

#[async_trait]
impl Settler for AlreadySettled {
    async fn ack(self: Box<Self>) {}
    async fn reject(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Fid, VIDEO_QUEUE};

    #[tokio::test]
    async fn a_full_queue_forgets_the_oldest_and_keeps_the_newest() {
        let queue = MemoryQueue::default();
        let mut last = None;
        for _ in 0..=CAPACITY {
            let message = JobMessage {
                video_fid: Fid::new(),
                mp3_fid: None,
                username: "ada@example.com".parse().unwrap(),
                trace: None,
            };
            queue.publish(VIDEO_QUEUE, &message).await.unwrap();
            last = Some(message);
        }
        let bell = queue.bell(VIDEO_QUEUE);
        let kept: Vec<_> = std::iter::from_fn(|| bell.pop()).collect();
        assert_eq!(kept.len(), CAPACITY);
        assert_eq!(kept.last(), last.as_ref());
    }
}
