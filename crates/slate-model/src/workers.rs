//! Threads that share out the pieces of a step.
//!
//! A piece is computed by one thread from its beginning to its end: Burn's operations on the processor
//! do not split their work (its feature `rayon` stays off), so no result depends on the number of threads.
//! One piece alone, as when one list is scored, is computed by the thread that asks: waking another one
//! takes longer than many a list.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::ModelError;

/// Numbers of a parameter that a thread takes at a time.
pub(crate) const SPAN: usize = 1 << 14;

/// A fixed set of threads; none where one is enough.
#[derive(Debug)]
pub(crate) struct Workers(Option<ThreadPool>);

impl Workers {
    /// The thread that asks and no other.
    pub(crate) const NONE: Self = Self(None);

    /// How many there are.
    pub(crate) fn threads(&self) -> usize {
        self.0.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    pub(crate) fn with_threads(threads: usize) -> Result<Self, ModelError> {
        if threads <= 1 {
            return Ok(Self::NONE);
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(Self(Some(
            pool.map_err(|source| ModelError::Threads { source })?,
        )))
    }

    /// `work` of each job, in the order of the jobs whatever the threads; jobs begin in their order.
    pub(crate) fn map<J: Send, T: Send>(
        &self,
        jobs: Vec<J>,
        work: impl Fn(J) -> T + Send + Sync,
    ) -> Vec<T> {
        match &self.0 {
            Some(pool) if jobs.len() > 1 => pool.install(|| {
                let jobs = jobs.into_iter().enumerate().par_bridge();
                let mut done: Vec<(usize, T)> =
                    jobs.map(|(place, job)| (place, work(job))).collect();
                done.sort_unstable_by_key(|(place, _)| *place);
                done.into_iter().map(|(_, result)| result).collect()
            }),
            _ => jobs.into_iter().map(work).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_at_any_thread_count() {
        for threads in [1, 2, 5] {
            let workers = Workers::with_threads(threads).unwrap();
            let squares = workers.map((0..17).collect(), |place: usize| place * place);
            assert_eq!(
                squares,
                (0..17).map(|place| place * place).collect::<Vec<_>>()
            );
            assert!(workers.map(Vec::new(), |place: usize| place).is_empty());
        }
    }

    #[test]
    fn one_job_stays_on_the_thread_that_asks() {
        let workers = Workers::with_threads(2).unwrap();
        let ran = workers.map(vec![()], |()| std::thread::current().id());
        assert_eq!(ran, [std::thread::current().id()]);
    }
}
