//! The queue of expensive reads. It bounds how many run at once, in the process and for each key, so that
//! other requests always find a connection; keys that wait take turns, so that no key delays another's reads.

pub(crate) mod permitted;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::ids::KeyId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::error::{ApiError, ApiResult};

/// The maximum number of reads of a key that wait.
const MAX_WAITING: usize = 100;
/// The maximum number of large responses that are built and sent at a time.
const MAX_LARGE: u32 = 2;
/// The maximum time for which a read waits.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Clones share the queue.
#[derive(Clone)]
pub struct ReadQueue(Arc<Mutex<QueueState>>);

struct QueueState {
    max: u32,
    max_of_key: u32,
    running: HashMap<KeyId, u32>,
    waiting: HashMap<KeyId, VecDeque<oneshot::Sender<ReadPermit>>>,
    /// The keys that wait, in the order of their turns.
    turns: VecDeque<KeyId>,
}

/// The permit to run one read, returned when it is dropped.
pub struct ReadPermit {
    queue: ReadQueue,
    key: KeyId,
}

impl ReadQueue {
    /// Returns a queue for a pool of this size: reads take at most three quarters of its connections, and
    /// those of a key half of these.
    pub fn of_pool(connections: u32) -> Self {
        let max = (connections * 3 / 4).max(1);
        Self::new(max, (max / 2).max(1))
    }

    /// Returns a queue for reads whose responses are large: few of them are in memory at a time.
    pub fn of_large_reads() -> Self {
        Self::new(MAX_LARGE, 1)
    }

    fn new(max: u32, max_of_key: u32) -> Self {
        let (running, waiting, turns) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(QueueState { max, max_of_key, running, waiting, turns })))
    }

    /// Waits for the permit to run a read of this key. It is acquired before a connection.
    ///
    /// # Errors
    /// When too many reads of the key wait, or the wait takes too long.
    pub async fn acquire(&self, key: KeyId) -> ApiResult<ReadPermit> {
        let (sender, receiver) = oneshot::channel();
        self.lock().push(key, sender)?;
        self.grant();
        match timeout(WAIT_TIMEOUT, receiver).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ApiError::Unavailable("Other large reads run here for too long")),
        }
    }

    /// Gives permits to waiting reads while the limits allow it.
    fn grant(&self) {
        loop {
            let next = self.lock().pop();
            let Some((key, sender)) = next else { return };
            // If the read has left meanwhile, the permit is dropped here and so returned.
            let _ = sender.send(ReadPermit { queue: self.clone(), key });
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn push(&mut self, key: KeyId, sender: oneshot::Sender<ReadPermit>) -> ApiResult<()> {
        let waiting = self.waiting.entry(key).or_default();
        waiting.retain(|sender| !sender.is_closed());
        if waiting.len() >= MAX_WAITING {
            return Err(ApiError::TooManyReads(waiting.len()));
        }
        waiting.push_back(sender);
        if !self.turns.contains(&key) {
            self.turns.push_back(key);
        }
        Ok(())
    }

    /// Removes the read whose turn it is, and counts it as running.
    fn pop(&mut self) -> Option<(KeyId, oneshot::Sender<ReadPermit>)> {
        while self.running.values().sum::<u32>() < self.max {
            let of_key = |key: &KeyId| self.running.get(key).copied().unwrap_or_default();
            let next = self.turns.iter().position(|key| of_key(key) < self.max_of_key)?;
            let key = self.turns.remove(next)?;
            let waiting = self.waiting.entry(key).or_default();
            waiting.retain(|sender| !sender.is_closed());
            let sender = waiting.pop_front();
            if waiting.is_empty() {
                self.waiting.remove(&key);
            } else {
                self.turns.push_back(key);
            }
            if let Some(sender) = sender {
                *self.running.entry(key).or_default() += 1;
                return Some((key, sender));
            }
        }
        None
    }
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        if let Some(running) = state.running.get_mut(&self.key) {
            *running -= 1;
        }
        state.running.retain(|_, running| *running > 0);
        drop(state);
        self.queue.grant();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn key(n: u128) -> KeyId {
        KeyId(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn keys_take_turns_within_the_limits() {
        let queue = ReadQueue::new(3, 2);
        let (greedy, other) = (key(1), key(2));
        let mut running = vec![queue.acquire(greedy).await.unwrap(), queue.acquire(greedy).await.unwrap()];
        let mut third = Box::pin(queue.acquire(greedy));
        assert!(third.as_mut().now_or_never().is_none(), "a key has no more than its limit");
        running.push(queue.acquire(other).await.unwrap());
        let mut fourth = Box::pin(queue.acquire(other));
        assert!(fourth.as_mut().now_or_never().is_none(), "the process has no more than its limit");
        // The greedy key waits for longer, but has two permits; the other one has its turn.
        drop(running.pop());
        assert!(third.as_mut().now_or_never().is_none());
        let held = fourth.as_mut().now_or_never().expect("the other key's turn").unwrap();
        drop(running.pop());
        assert!(third.as_mut().now_or_never().is_some_and(|permit| permit.is_ok()));
        drop(held);
    }

    #[tokio::test]
    async fn a_read_that_left_the_queue_holds_no_permit() {
        let queue = ReadQueue::new(1, 1);
        let running = queue.acquire(key(1)).await.unwrap();
        let mut left = Box::pin(queue.acquire(key(2)));
        assert!(left.as_mut().now_or_never().is_none());
        drop(left);
        let mut waiting = Box::pin(queue.acquire(key(3)));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(running);
        assert!(waiting.as_mut().now_or_never().is_some_and(|permit| permit.is_ok()));
        // A permit that was sent but never received is returned as well.
        let state = queue.lock();
        assert!(state.running.is_empty() && state.waiting.is_empty() && state.turns.is_empty());
    }

    #[tokio::test]
    async fn the_waiting_reads_of_a_key_are_bounded() {
        let queue = ReadQueue::new(1, 1);
        let _running = queue.acquire(key(1)).await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(queue.acquire(key(1)))).collect();
        assert!(waiting.iter_mut().all(|read| read.as_mut().now_or_never().is_none()));
        assert!(matches!(queue.acquire(key(1)).await, Err(ApiError::TooManyReads(MAX_WAITING))));
        let mut other = Box::pin(queue.acquire(key(2)));
        assert!(other.as_mut().now_or_never().is_none(), "another key may wait");
    }
}
