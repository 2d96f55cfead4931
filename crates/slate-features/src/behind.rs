//! Files made durable while they are still being written.
//!
//! What is written stays in the system's memory until somebody asks for it to reach the disk. Asked only
//! in the end, everybody waits for the disk; asked now and then, the disk works while the rest goes on.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

use crate::FeatureError;

/// Files that may wait for their turn: who finds no place goes on and asks again later.
const WAITING: usize = 4;

/// A thread that brings to the disk what it is asked to.
pub(crate) struct Behind {
    /// None in the end.
    files: Option<SyncSender<(PathBuf, File)>>,
    /// None in the end.
    thread: Option<JoinHandle<Result<(), FeatureError>>>,
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
        Self {
            files: Some(files),
            thread: Some(thread),
        }
    }

    pub(crate) fn syncer(&self) -> Syncer {
        Syncer(self.files.clone().expect("it is there until the end"))
    }

    /// Waits for the disk; all that ask must be gone.
    ///
    /// # Errors
    /// What the disk said: a system tells of a failure once, and not again to whoever asks later.
    pub(crate) fn finish(mut self) -> Result<(), FeatureError> {
        match self.end() {
            Some(Ok(synced)) => synced,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Option<std::thread::Result<Result<(), FeatureError>>> {
        self.files = None;
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Behind {
    /// Files that nobody wants any more may be removed now.
    fn drop(&mut self) {
        // There is another error to tell, or none.
        let _ = self.end();
    }
}

impl Syncer {
    /// Asks for what is in the file so far.
    pub(crate) fn ask(&self, path: &Path, file: &File) {
        // Who cannot ask goes on: in the end the file is made durable in any case, and of a thread that has
        // ended `Behind::finish` tells.
        if let Ok(file) = file.try_clone() {
            let _ = self.0.try_send((path.to_path_buf(), file));
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
            syncer.ask(&path, &file);
        }
        drop(syncer);
        behind.finish().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), vec![7; 100_000]);
    }
}
