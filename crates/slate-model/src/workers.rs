//! Worker threads that share out the shards of a batch.
//!
//! Each worker computes with a thread pool of one: a tensor operation never splits its work, so
//! its result does not depend on the number of threads, and no thread starts on another shard in
//! the middle of an operation.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::ModelError;

/// A fixed set of workers.
#[derive(Debug)]
pub(crate) struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    pub(crate) fn with_threads(threads: usize) -> Result<Self, ModelError> {
        let pools = (0..threads.max(1))
            .map(|_| ThreadPoolBuilder::new().num_threads(1).build())
            .collect::<Result<_, _>>()
            .map_err(|source| ModelError::Threads { source })?;
        Ok(Self { pools })
    }

    /// `work(0)`, `work(1)`, … `work(count − 1)`, in that order whatever the threads.
    pub(crate) fn map<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
        let drain = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= count {
                    break;
                }
                let result = work(place);
                done.lock()
                    .expect("no worker panics while it holds the lock")
                    .push((place, result));
            }
        };
        std::thread::scope(|scope| {
            for pool in self.pools.iter().take(count).skip(1) {
                scope.spawn(|| pool.install(drain));
            }
            if count > 0 {
                self.pools[0].install(drain);
            }
        });
        let mut done = done
            .into_inner()
            .expect("no worker panics while it holds the lock");
        done.sort_unstable_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_at_any_thread_count() {
        for threads in [1, 2, 5] {
            let workers = Workers::with_threads(threads).unwrap();
            let squares = workers.map(17, |place| place * place);
            assert_eq!(
                squares,
                (0..17).map(|place| place * place).collect::<Vec<_>>()
            );
            assert!(workers.map(0, |place| place).is_empty());
        }
    }
}
