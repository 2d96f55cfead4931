//! An iterator that runs on a thread of its own, a few items ahead of whoever reads it.

use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread::JoinHandle,
};

/// Items in the order in which they were made.
pub(crate) struct Ahead<T> {
    items: Receiver<T>,
    /// None once the thread has been seen to end.
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts making items, at most `most` that nobody has taken yet. The thread ends when this is
    /// dropped.
    pub(crate) fn new(items: impl Iterator<Item = T> + Send + 'static, most: usize) -> Self {
        let (send, receive) = sync_channel(most);
        let thread = std::thread::spawn(move || {
            for item in items {
                if send.send(item).is_err() {
                    return;
                }
            }
        });
        Self {
            items: receive,
            thread: Some(thread),
        }
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if let Ok(item) = self.items.recv() {
            return Some(item);
        }
        // The end, or a panic over there, which must not pass for one.
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_order_and_end() {
        let mut numbers = Ahead::new(0..1000, 3);
        assert!(numbers.by_ref().eq(0..1000));
        assert_eq!(numbers.next(), None);
        // Dropped in the middle.
        assert_eq!(Ahead::new(0.., 2).nth(10), Some(10));
    }

    #[test]
    #[should_panic(expected = "broken")]
    fn a_panic_is_no_end() {
        let numbers = (0..10).inspect(|number| assert!(*number < 5, "broken"));
        assert_eq!(Ahead::new(numbers, 2).count(), 5);
    }
}
