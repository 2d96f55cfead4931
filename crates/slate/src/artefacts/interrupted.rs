//! Ctrl-C and a polite kill leave nothing half-written: what is under construction is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code of a process ended by Ctrl-C, as shells tell it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether a command would rather end by itself, and whether it has been asked to.
static ENDS_ITSELF: AtomicBool = AtomicBool::new(false);
static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

/// Everything under construction in this process.
static UNDER_CONSTRUCTION: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Notes a path that is not finished yet.
pub(super) fn begin(path: &Path) {
    lock().push(path.to_owned());
}

/// Notes that the path is finished or gone.
pub(super) fn end(path: &Path) {
    lock().retain(|other| other != path);
}

/// Finishes a path without an interrupt in between: `place` puts it where it belongs.
pub(super) fn finish<T, E>(path: &Path, place: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let mut paths = lock();
    let placed = place()?;
    paths.retain(|other| other != path);
    Ok(placed)
}

fn lock() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    UNDER_CONSTRUCTION
        .lock()
        .expect("no thread panics while it holds the list")
}

/// From now on an interrupt removes what is under construction and ends the process. Where the
/// system gives no such signal nothing changes: the next run cleans up.
pub(crate) fn clean_up_when_interrupted() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    std::thread::spawn(move || {
        for _ in signals.forever() {
            // The first signal asks; who does not want to wait sends another.
            if ENDS_ITSELF.load(Ordering::Relaxed) && !ASKED_TO_END.swap(true, Ordering::Relaxed) {
                continue;
            }
            // Held to the end: what is being put in place is there, or never gets there.
            let paths = lock();
            remove_all(&paths);
            #[expect(clippy::exit, reason = "a signal ends the process; all is cleaned up")]
            std::process::exit(INTERRUPTED.into());
        }
    });
}

/// From now on the first interrupt sets the flag this gives, for a command that saves its state and
/// ends by itself.
pub(crate) fn end_when_asked() -> &'static AtomicBool {
    ENDS_ITSELF.store(true, Ordering::Relaxed);
    &ASKED_TO_END
}

/// Workers may still write: what they make anew while it is removed goes in another round.
fn remove_all(paths: &[PathBuf]) {
    // The last first: a lock was there before what it protects.
    for path in paths.iter().rev() {
        for _ in 0..10 {
            let gone = match path.symlink_metadata() {
                Err(_) => break,
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
                Ok(_) => fs::remove_file(path),
            };
            if gone.is_ok() {
                break;
            }
        }
    }
}
