//! Files made durable while they are still being written.
//!
//! What is written stays in the system's memory until somebody asks for it to reach the disk. Asked only
//! in the end, everybody waits for the disk; asked now and then, the disk works while the rest goes on.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
};

use crate::FeatureError;

/// Files that may wait for their turn: who finds no place goes on and asks again later.
const WAITING: usize = 4;

/// A thread that brings to the disk what it is asked to.
pub(crate) struct Behind {
    files: SyncSender<(PathBuf, File)>,
    thread: JoinHandle<Result<(), FeatureError>>,
}

/// Asks for files to be brought to the disk.
#[derive(Clone)]
pub(crate) struct Syncer(SyncSender<(PathBuf, File)>);

impl Behind {
    pub(crate) fn new() -> Self {
        let (files, receive) = sync_channel::<(PathBuf, File)>(WAITING);
        let thread = std::thread::spawn(move || {
            receive.into_iter().try_for_each(|(path, file)| {
                let synced = file.sync_data();
                synced.map_err(FeatureError::io("write", &path))
            })
        });
        Self { files, thread }
    }

    pub(crate) fn syncer(&self) -> Syncer {
        Syncer(self.files.clone())
    }

    /// Waits for the disk; all that ask must be gone.
    ///
    /// # Errors
    /// What the disk said: a system tells of a failure once, and not again to whoever asks later.
    pub(crate) fn finish(self) -> Result<(), FeatureError> {
        drop(self.files);
        match self.thread.join() {
            Ok(synced) => synced,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Syncer {
    /// Asks for what is in the file so far. Says no more than whether anything kept it from asking.
    pub(crate) fn ask(&self, path: &Path, file: &File) -> io::Result<()> {
        match self.0.try_send((path.to_path_buf(), file.try_clone()?)) {
            // Of a thread that has ended `Behind::finish` tells.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn whoever_asks_does_not_wait_and_files_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = File::create(&path).unwrap();
        let behind = Behind::new();
        let syncer = behind.syncer();
        for _ in 0..100 {
            file.write_all(&[7; 1000]).unwrap();
            syncer.ask(&path, &file).unwrap();
        }
        drop(syncer);
        behind.finish().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), vec![7; 100_000]);
    }
}
