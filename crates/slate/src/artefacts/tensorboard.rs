//! Event files that TensorBoard draws: numbers by tag and step, and nothing else.
//!
//! In: tags such as `loss/train`, steps, values, and wall times in seconds since 1970. The caller
//! gives the times, so a caller with fixed times gets the same bytes each run. Out: one file of
//! `TFRecord` frames (length, its masked CRC-32C, data, its masked CRC-32C; all little-endian)
//! whose data are `Event` messages of `tensorflow/core/util/event.proto`. Written by hand, as six
//! fields do not deserve a protobuf crate.
//!
//! A value keeps 32 bits. `NaN` and infinities are written as they are: people look here for losses
//! that explode. [`EventFile::append`] refuses what does not begin as event files do.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A name under which TensorBoard finds the file: it looks for `tfevents` in it.
pub(crate) const FILE_NAME: &str = "events.out.tfevents.0.slate";

/// The key of `Event.wall_time`, a `double` that every event begins with.
const WALL_TIME: u8 = 0x09;
/// The key of `Event.step`, a varint right behind the wall time; without it the step is 0.
const STEP: u8 = 0x10;
/// The whole field `Event.file_version`, which stands behind the first wall time.
const FILE_VERSION: &[u8] = b"\x1a\x0dbrain.Event:2";
/// The keys of `Event.summary`, `Summary.value`, and of tag and `float` in such a value.
const SUMMARY: u8 = 0x2a;
const VALUE: u8 = 0x0a;
const TAG: u8 = 0x0a;
const SIMPLE_VALUE: u8 = 0x15;
/// Bytes of a frame before its data, and of the wall time with its key.
const FRAME_HEAD: usize = 12;
const WALL_TIME_FIELD: usize = 9;

/// An event file being written. A killed process loses what it has not flushed, and only that.
pub(crate) struct EventFile(BufWriter<File>);

impl EventFile {
    /// Begins a file, in place of any that is there, and writes its version at once.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn create(path: &Path, wall_time: f64) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&version_record(wall_time))?;
        Ok(Self(BufWriter::new(file)))
    }

    /// Goes on with the file of an earlier process, as if that had stopped cleanly.
    ///
    /// Everything from the first record on that is cut short or has a wrong checksum is removed:
    /// a killed process may leave half a record, and TensorBoard reads no further than that. Of the
    /// rest, values stay whose tag and step `keep` accepts: a run that resumes from a checkpoint
    /// writes again what came after it. `wall_time` is used only if the earlier process was killed
    /// within its first record. A TensorBoard that is open must be restarted if anything was removed.
    ///
    /// # Errors
    /// No such file, any other failure of the file system, or a file that does not begin with
    /// `brain.Event:2`, which is left untouched.
    pub(crate) fn append(
        path: &Path,
        keep: impl Fn(&str, u64) -> bool,
        wall_time: f64,
    ) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).open(path)?;
        let mut old = Vec::new();
        file.read_to_end(&mut old)?;
        let kept = kept_records(&old, keep, wall_time)?;
        let same = old.iter().zip(&kept).take_while(|(a, b)| a == b).count();
        // Cutting before writing means that a kill in between leaves no event twice.
        file.set_len(same as u64)?;
        file.seek(SeekFrom::Start(same as u64))?;
        file.write_all(&kept[same..])?;
        Ok(Self(BufWriter::new(file)))
    }

    /// Adds the value of `tag` at `step`. Order and repetition are the caller's business.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn scalar(
        &mut self,
        tag: &str,
        step: u64,
        value: f64,
        wall_time: f64,
    ) -> io::Result<()> {
        let value = (value as f32).to_le_bytes();
        let point = [&field(TAG, tag.as_bytes()), &[SIMPLE_VALUE][..], &value].concat();
        let summary = field(SUMMARY, &field(VALUE, &point));
        let event = [&event_at(wall_time), &[STEP][..], &varint(step), &summary].concat();
        self.0.write_all(&record(&event))
    }

    /// Hands everything to the operating system, so that a TensorBoard can see it.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The part of an event file that stays, as [`EventFile::append`] describes it.
fn kept_records(
    old: &[u8],
    keep: impl Fn(&str, u64) -> bool,
    wall_time: f64,
) -> io::Result<Vec<u8>> {
    let fresh = version_record(wall_time);
    let mut head = old.iter().zip(&fresh).take(FRAME_HEAD);
    if old.len() < fresh.len() && head.all(|(a, b)| a == b) {
        return Ok(fresh);
    }
    let first = split_record(old).and_then(|(event, _)| event.get(WALL_TIME_FIELD..));
    if !first.is_some_and(|fields| fields.starts_with(FILE_VERSION)) {
        let message = "not an event file, expected `brain.Event:2` as its first record";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut kept = Vec::with_capacity(old.len());
    let mut rest = old;
    while let Some((event, after)) = split_record(rest) {
        if tag_and_step(event).is_none_or(|(tag, step)| keep(tag, step)) {
            kept.extend(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    Ok(kept)
}

/// Frames `data` as one `TFRecord`.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// The data of the first record and what follows it; `None` unless it is whole and unharmed.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (length_crc, rest) = rest.split_first_chunk::<4>()?;
    if *length_crc != masked_crc(length) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (data, rest) = rest.split_at_checked(length)?;
    let (data_crc, rest) = rest.split_first_chunk::<4>()?;
    (*data_crc == masked_crc(data)).then_some((data, rest))
}

/// The record every event file begins with.
fn version_record(wall_time: f64) -> Vec<u8> {
    record(&[&event_at(wall_time), FILE_VERSION].concat())
}

/// An event of which only the wall time is known.
fn event_at(wall_time: f64) -> Vec<u8> {
    [&[WALL_TIME][..], &wall_time.to_le_bytes()].concat()
}

/// The tag and step of an event that [`EventFile::scalar`] wrote; none for the version.
fn tag_and_step(event: &[u8]) -> Option<(&str, u64)> {
    let number = |bytes, key| split_varint(<[u8]>::strip_prefix(bytes, &[key])?);
    let (step, rest) = number(event.get(WALL_TIME_FIELD..)?, STEP)?;
    let (_, rest) = number(rest, SUMMARY)?;
    let (_, rest) = number(rest, VALUE)?;
    let (length, rest) = number(rest, TAG)?;
    let tag = rest.get(..usize::try_from(length).ok()?)?;
    Some((std::str::from_utf8(tag).ok()?, step))
}

/// A [`varint`] and what follows it.
fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let more = bytes.iter().take_while(|byte| **byte >= 0x80).count();
    let (groups, rest) = bytes.split_at_checked(more + 1)?;
    let groups = groups.iter().rev();
    let value = groups.fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f));
    Some((value, rest))
}

/// A number in groups of seven bits, lowest first, with the top bit set in all but the last.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field of a message or text.
fn field(key: u8, bytes: &[u8]) -> Vec<u8> {
    [&[key][..], &varint(bytes.len() as u64), bytes].concat()
}

/// The checksum as `TFRecord` masks it, since the CRC of bytes that hold their own CRC is weak.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let masked = crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    masked.to_le_bytes()
}

/// CRC-32C (Castagnoli), the one of iSCSI (RFC 3720).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ CRC_TABLE[usize::from(crc as u8 ^ byte)];
    !bytes.iter().fold(!0, step)
}

/// What each value of the low byte does to the rest of the checksum.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let (mut crc, mut bit) = (index as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process, thread};

    type Outcome = (io::Result<()>, Vec<u8>);

    /// What `begin` and then the given steps make of a file that holds `old`.
    fn file(old: &[u8], begin: impl Fn(&Path) -> io::Result<EventFile>, steps: &[u64]) -> Outcome {
        let name = format!("{}-{:?}-{FILE_NAME}", process::id(), thread::current().id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, old).unwrap();
        let outcome = begin(&path).and_then(|mut file| {
            for step in steps {
                file.scalar("loss", *step, 0.25, 2.5)?;
            }
            file.flush()
        });
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        (outcome, bytes)
    }

    /// The bytes of a file that was never interrupted.
    fn whole(steps: &[u64]) -> Vec<u8> {
        file(b"older", |path| EventFile::create(path, 1.5), steps).1
    }

    /// The outcome and the bytes when a later process goes on with a file that holds `old`.
    fn appended(old: &[u8], last_step: Option<u64>, steps: &[u64]) -> Outcome {
        let keep = |tag: &str, step| tag == "loss" && last_step.is_none_or(|last| step <= last);
        file(old, |path| EventFile::append(path, keep, 1.5), steps)
    }

    #[test]
    fn checksum_has_its_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// From TensorBoard 2.21: `RecordWriter(f).write(event.SerializeToString())` of
    /// `Event(wall_time=1.5, file_version="brain.Event:2")` and `Event(wall_time=2.5, step=300,
    /// summary=Summary(value=[Summary.Value(tag="loss", simple_value=0.25)]))`.
    #[test]
    fn bytes_are_those_of_tensorboards_own_writer() {
        let golden = "1800000000000000a37f4b2209000000000000f83f\
                      1a0d627261696e2e4576656e743a322a28646c\
                      1b000000000000001a0d9e13090000000000000440\
                      10ac022a0d0a0b0a046c6f7373150000803e205d3896";
        let hex: String = whole(&[300]).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, golden);
    }

    #[test]
    fn a_kill_at_any_byte_costs_only_the_unfinished_record() {
        let all = whole(&[1, 2, 300]);
        let ends = [&[1][..], &[1, 2]].map(|steps| whole(steps).len());
        for cut in 0..all.len() {
            let done = ends.iter().filter(|end| **end <= cut).count();
            let (_, bytes) = appended(&all[..cut], None, &[1, 2, 300][done..]);
            assert_eq!(bytes, all, "cut at byte {cut}");
        }
    }

    #[test]
    fn a_damaged_byte_ends_the_file_before_its_record() {
        let (first, both) = (whole(&[1]), whole(&[1, 2]));
        for at in first.len()..both.len() {
            let mut damaged = both.clone();
            damaged[at] ^= 1;
            assert_eq!(appended(&damaged, None, &[]).1, first, "damage at {at}");
        }
    }

    #[test]
    fn later_steps_go_wherever_they_stand() {
        let check = |last_step, kept: &[u64]| {
            let (_, bytes) = appended(&whole(&[1, 200, 2, 0, 201, 300]), last_step, &[7]);
            assert_eq!(bytes, whole(&[kept, &[7]].concat()), "{last_step:?}");
        };
        check(None, &[1, 200, 2, 0, 201, 300]);
        check(Some(u64::MAX), &[1, 200, 2, 0, 201, 300]);
        check(Some(200), &[1, 200, 2, 0]);
        check(Some(2), &[1, 2, 0]);
        check(Some(0), &[0]);
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        for other in [b"format = 1\n".to_vec(), record(b"ten bytes.")] {
            let (outcome, bytes) = appended(&other, Some(0), &[1]);
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert_eq!(bytes, other);
        }
    }
}
