//! One writer at a time among processes and machines that share a folder.
//!
//! A system's lock ends with its process, but a file server may know no locks, and a process that is
//! stopped holds its own for ever. A lease is a numbered file, `000007.json`, that its holder writes anew
//! every few seconds. Who wants to write makes the file of the next number, which only one can; before, the
//! lease that is there must have been given back, or its holder be dead, or it must not have changed
//! for as long as it may last, measured by the clock of the one who waits: clocks of two machines are never
//! compared, and one that is set back changes nothing.
//!
//! The number is the fencing token: a holder that finds a larger one has lost its lease, however long it
//! was asleep, and may write no more ([`Lease::check`]).

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::console::Refusal;

/// Lease files of earlier numbers that stay, for who looks into what happened.
const KEPT: u64 = 5;
/// How often who waits looks.
const LOOK: Duration = Duration::from_millis(200);

/// What a lease file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Where the holder runs: host, boot and process namespace.
    place: String,
    host: String,
    pid: u32,
    /// When the process began, in the system's ticks: tells it from another of the same number.
    began: u64,
    /// For how long the holder may show no sign of life, in seconds.
    lasts: f64,
    /// Grows while the holder lives.
    beat: u64,
    given_back: bool,
}

/// The right to write below a folder, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    folder: PathBuf,
    token: u64,
    /// Dropped to end the heart.
    stop: Option<Sender<()>>,
    heart: Option<JoinHandle<Record>>,
}

impl Lease {
    /// Takes the lease of a folder, or takes it over from a holder that is dead or has shown no sign of
    /// life for `lasts`; `say` is told while that is waited for.
    ///
    /// # Errors
    /// A holder that lives, a folder that cannot be written.
    pub(crate) fn take(folder: &Path, lasts: Duration, say: &dyn Fn(&str)) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
        let own = Record::of_this_process(lasts);
        loop {
            let last = newest(folder)?;
            if let Some((token, record)) = &last {
                wait_for(folder, *token, record.as_ref(), lasts, say)?;
            }
            let token = last.map_or(0, |(token, _)| token) + 1;
            if create(folder, token, &own)? {
                tidy(folder, token);
                return Ok(Self::begin(folder, token, own, lasts));
            }
            // Someone else was quicker; look at that one.
        }
    }

    fn begin(folder: &Path, token: u64, own: Record, lasts: Duration) -> Self {
        let (stop, stopped) = channel();
        let path = folder.to_owned();
        let heart = std::thread::spawn(move || {
            let mut record = own;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(lasts / 4) {
                if newest(&path).is_ok_and(|last| last.is_some_and(|(last, _)| last > token)) {
                    break;
                }
                record.beat += 1;
                // A server that is away for a moment is written to at the next beat.
                let _ = replace(&path, token, &record);
            }
            record
        });
        Self {
            folder: folder.to_owned(),
            token,
            stop: Some(stop),
            heart: Some(heart),
        }
    }

    /// The fencing token: larger than that of any earlier holder.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    /// # Errors
    /// Another process that has taken the lease over.
    pub(crate) fn check(&self) -> Result<()> {
        match newest(&self.folder)? {
            Some((token, record)) if token > self.token => {
                let by = record.map_or_else(String::new, |record| format!(" by {}", record.told()));
                Err(Refusal::new(format!(
                    "this process was out of touch for too long and its lease was taken over{by}; it \
                     writes no more"
                ))
                .hint("nothing is lost: the other process does the same work")
                .into())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        let Some(Ok(mut record)) = self.heart.take().map(JoinHandle::join) else {
            return;
        };
        if self.check().is_ok() {
            record.given_back = true;
            // A failure costs the next process a wait.
            let _ = replace(&self.folder, self.token, &record);
        }
    }
}

impl Record {
    fn of_this_process(lasts: Duration) -> Self {
        let pid = std::process::id();
        let host = read_trimmed("/proc/sys/kernel/hostname");
        let boot = read_trimmed("/proc/sys/kernel/random/boot_id");
        let namespace = fs::read_link("/proc/self/ns/pid");
        let namespace = namespace.map_or_else(|_| String::new(), |link| link.display().to_string());
        Self {
            place: format!("{host} {boot} {namespace}"),
            host,
            pid,
            began: began(pid).unwrap_or(0),
            lasts: lasts.as_secs_f64(),
            beat: 0,
            given_back: false,
        }
    }

    /// Whether its process is known to be no more: only where it ran here, and the system tells of
    /// processes.
    fn is_dead(&self) -> bool {
        let here = Self::of_this_process(Duration::ZERO);
        here.began != 0 && here.place == self.place && began(self.pid) != Some(self.began)
    }

    fn told(&self) -> String {
        format!("process {} on {}", self.pid, self.host)
    }
}

fn read_trimmed(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// When a process began, in ticks since the machine did; none where there is no such process or no
/// such file.
fn began(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold spaces; what begins it is the 20th word behind.
    let behind = &text[text.rfind(')')? + 1..];
    let mut words = behind.split_whitespace();
    let state = words.next()?;
    // Dead, but not yet taken note of by the process that started it.
    if state == "Z" || state == "X" {
        return None;
    }
    words.nth(18)?.parse().ok()
}

fn path_of(folder: &Path, token: u64) -> PathBuf {
    folder.join(format!("{token:06}.json"))
}

/// The largest token there is, and what its file says; none where that cannot be read.
fn newest(folder: &Path) -> Result<Option<(u64, Option<Record>)>> {
    let mut last = None;
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        let token = name.to_string_lossy();
        let token = token.strip_suffix(".json").and_then(|t| t.parse().ok());
        last = last.max(token);
    }
    Ok(last.map(|token: u64| {
        let text = fs::read(path_of(folder, token)).unwrap_or_default();
        (token, serde_json::from_slice(&text).ok())
    }))
}

/// Makes the file of a token with all that is in it; false where there is one.
fn create(folder: &Path, token: u64, record: &Record) -> Result<bool> {
    let path = path_of(folder, token);
    let beside = folder.join(format!(".{token:06}.{}", record.pid));
    let result = write(&beside, record).and_then(|()| fs::hard_link(&beside, &path));
    let _ = fs::remove_file(&beside);
    let result = match result {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            // A file system without links; a reader may see the file empty for a moment.
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .and_then(|mut file| file.write_all(&bytes(record)))
        }
        other => other,
    };
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot create `{}`", path.display())),
    }
}

/// Writes the file of a token anew, as a whole.
fn replace(folder: &Path, token: u64, record: &Record) -> std::io::Result<()> {
    let beside = folder.join(format!(".{token:06}.beat"));
    write(&beside, record)?;
    fs::rename(&beside, path_of(folder, token))
}

fn write(path: &Path, record: &Record) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(&bytes(record))?;
    file.sync_all()
}

fn bytes(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("numbers and text")
}

/// Removes files of tokens long gone.
fn tidy(folder: &Path, token: u64) {
    for old in (1..=token.saturating_sub(KEPT)).rev() {
        if fs::remove_file(path_of(folder, old)).is_err() {
            break;
        }
    }
}

/// Returns when the lease of a token may be taken over.
///
/// # Errors
/// A holder that gave a sign of life.
fn wait_for(
    folder: &Path,
    token: u64,
    seen: Option<&Record>,
    lasts: Duration,
    say: &dyn Fn(&str),
) -> Result<()> {
    let is_over = |record: &Record| record.given_back || record.is_dead();
    if seen.is_some_and(is_over) {
        return Ok(());
    }
    // What the holder counts on, where that is longer.
    let lasts = seen.map_or(lasts, |seen| {
        lasts.max(Duration::try_from_secs_f64(seen.lasts).unwrap_or(lasts))
    });
    let holder = seen.map_or_else(|| "a process that is unknown".to_owned(), Record::told);
    say(&format!(
        "{holder} holds the lease `{}`; watching for up to {} s whether it lives",
        path_of(folder, token).display(),
        lasts.as_secs_f64().ceil()
    ));
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        std::thread::sleep(LOOK.min(lasts / 8));
        match newest(folder)? {
            Some((last, now)) if last == token => {
                if now.as_ref().is_some_and(is_over) {
                    return Ok(());
                }
                if now.is_some() && now.as_ref() != seen {
                    return Err(is_held(&holder));
                }
            }
            _ => return Err(is_held("another process")),
        }
    }
    Ok(())
}

fn is_held(holder: &str) -> anyhow::Error {
    Refusal::new(format!("{holder} is at work on this model"))
        .hint("wait for it to end; two at a time would do the same work twice")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_millis(800);

    fn take(folder: &Path) -> Result<Lease> {
        Lease::take(folder, LASTS, &|_| {})
    }

    #[test]
    fn one_holds_it_and_the_next_has_a_larger_token() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path()).unwrap();
        let refused = take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("is at work on this model"), "{refused}");
        first.check().unwrap();
        let token = first.token();
        drop(first);
        let began = Instant::now();
        let second = take(dir.path()).unwrap();
        assert!(
            began.elapsed() < LASTS,
            "what was given back is free at once"
        );
        assert_eq!(second.token(), token + 1);
    }

    #[test]
    fn a_holder_without_a_sign_of_life_loses_it() {
        let dir = tempfile::tempdir().unwrap();
        // Of another machine, which has not been heard of since.
        let mut away = Record::of_this_process(LASTS);
        "elsewhere".clone_into(&mut away.place);
        assert!(create(dir.path(), 7, &away).unwrap());
        let began = Instant::now();
        let lease = take(dir.path()).unwrap();
        assert!(began.elapsed() >= LASTS, "it was given its time");
        assert_eq!(lease.token(), 8);
        // It wakes up and writes late: no one minds, and it is told.
        replace(dir.path(), 7, &away).unwrap();
        lease.check().unwrap();
        let late = Lease::begin(dir.path(), 7, away, LASTS);
        let told = late.check().unwrap_err().to_string();
        assert!(told.contains("taken over by process"), "{told}");
    }

    #[test]
    fn a_dead_holder_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut dead = Record::of_this_process(LASTS);
        dead.began += 1;
        create(dir.path(), 1, &dead).unwrap();
        let began = Instant::now();
        assert_eq!(take(dir.path()).unwrap().token(), 2);
        assert!(began.elapsed() < LASTS);
    }

    #[test]
    fn of_many_that_begin_together_one_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<Lease> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| take(dir.path()))).collect();
            let all = all.into_iter().map(|one| one.join().unwrap());
            all.filter_map(Result::ok).collect()
        });
        assert_eq!(held.len(), 1);
    }
}
