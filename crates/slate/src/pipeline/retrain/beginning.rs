//! What a month begins with: the logs it can see, the model in use, the months before it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slate_model::DeviceSpec;

use super::gate::Verdict;
use super::job::{self, Before, Champion, Job};
use super::log_files::LogFiles;
use super::profile::{DataCheck, Profile};
use super::record::Record;
use super::{Retrain, until};
use crate::artefacts::manifest;
use crate::artefacts::registry::Promotion;
use crate::console::Refusal;
use crate::pipeline::calendar::Month;
use crate::pipeline::stages::{Patience, Store};

/// A month that is asked for.
pub(super) struct Asked {
    pub(super) month: Month,
    /// Hash of what it is made of.
    pub(super) of: String,
    /// Hash of the logs of the days in which its labels settle.
    pub(super) lag: String,
}

impl Asked {
    /// Whether a record is of the same. A month that failed is done anew where the days in which its labels
    /// settle were mended too.
    pub(super) fn is_done(&self, record: &Record) -> bool {
        let ended = record.ended.as_ref();
        record.of == self.of
            && ended.is_some_and(|end| end.verdict != Verdict::Failed || record.lag == self.lag)
    }
}

impl Retrain<'_> {
    /// All files of the logs; a store that is not there for a moment is asked again.
    pub(super) fn look(&self) -> Result<LogFiles> {
        self.patience().of(
            || LogFiles::look(&self.section.logs, &self.index()),
            |attempt, wait, error| {
                (self.say)(&format!(
                    "{error:#}; this may pass, attempt {} in {:.0} s",
                    attempt + 1,
                    wait.as_secs_f64()
                ));
            },
        )
    }

    /// What is done about faults that may pass.
    pub(super) fn patience(&self) -> Patience {
        Patience {
            retries: self.section.retries,
            wait: Duration::from_secs_f64(self.section.retry_seconds),
            stop: self.stop,
        }
    }

    /// The month that is asked for, and what it would be made of.
    pub(super) fn asked(&self, logs: &LogFiles, month: Month) -> Result<Asked> {
        let settles = logs.between(month.next().begins(), until(&self.section, month));
        Ok(Asked {
            month,
            of: self.made_of(logs, month)?,
            lag: settles.hash(),
        })
    }

    /// Where the hashes of log files are kept.
    pub(super) fn index(&self) -> PathBuf {
        self.folder().join("log_files.json")
    }

    /// What a month is made of: where that is as it was, the month is as it was.
    pub(super) fn made_of(&self, logs: &LogFiles, month: Month) -> Result<String> {
        let mut file = serde_json::to_value(self.file)?;
        let of_the_day = [
            "work",
            "registry",
            "logs",
            "device",
            "jobs",
            "memory",
            "retries",
            "retry_seconds",
            "lease_seconds",
            "textfile",
            "webhook",
        ];
        if let Some(section) = file["retrain"].as_object_mut() {
            section.retain(|key, _| !of_the_day.contains(&key.as_str()));
        }
        if let Some(file) = file.as_object_mut() {
            file.remove("simulate");
            file.remove("sweep");
        }
        // Files of the days in which labels settle go on growing after the month is done.
        let until = month.next().begins();
        let value = json!({
            "config": file, "seed": self.seed, "logs": logs.between(i64::MIN, until).hash(),
            "slate": env!("CARGO_PKG_VERSION"),
        });
        Ok(manifest::hex(&Sha256::digest(value.to_string().as_bytes())))
    }

    /// Refuses a month whose labels are not known yet.
    pub(super) fn refuse_early(&self, month: Month) -> Result<()> {
        let read = until(&self.section, month);
        let now: chrono::DateTime<chrono::Utc> = std::time::SystemTime::now().into();
        if now.timestamp_micros() >= read {
            return Ok(());
        }
        let told = format!(
            "labels of {month} are read on {}, which has not come (by this machine's clock it is {})",
            job::date(read),
            now.format("%Y-%m-%d")
        );
        Err(Refusal::new(told)
            .hint("start it then; `retrain.lag_days` says how long after the month that is")
            .into())
    }

    /// The model a month is held to: what was in use when it first began, unless something else came into
    /// use since that is not of this month.
    pub(super) fn champion(
        &self,
        record: Option<&Record>,
        of: &str,
        month: Month,
    ) -> Result<Option<Champion>> {
        let promotions = self.registry.promotions()?;
        let is_own = |promotion: &&Promotion| {
            let version = self.registry.version(&promotion.version);
            let of_month = version.is_ok_and(|own| own.about.month == month.to_string());
            of_month && !promotion.back
        };
        let there = |number: u64| number == 0 || promotions.iter().any(|own| own.number == number);
        let same = record.filter(|record| record.of == of && there(record.champion));
        if let Some(begun) = same {
            let later: Vec<&Promotion> = promotions
                .iter()
                .filter(|own| own.number > begun.champion)
                .collect();
            // Who took it back since had a reason, and the month does not come into use once more.
            let own_alone =
                later.first().is_none_or(is_own) && later.iter().all(|one| one.back || is_own(one));
            if own_alone {
                let champion = promotions.iter().find(|own| own.number == begun.champion);
                return champion
                    .map(|promotion| Champion::of(&self.registry, promotion))
                    .transpose();
            }
        }
        let mut in_use = promotions.iter().rev().peekable();
        if record.is_none() {
            // Its record was lost: what the month itself brought into use is not what it was held to.
            while in_use.next_if(is_own).is_some() {}
        }
        in_use
            .next()
            .map(|promotion| Champion::of(&self.registry, promotion))
            .transpose()
    }

    /// The profiles that a month is held to.
    fn before(&self, champion: Option<&Champion>, month: Month) -> Result<Option<Before>> {
        let Some(champion) = champion else {
            return Ok(None);
        };
        let own = champion.folder.join(Profile::FILE);
        let (mut sound, mut seen) = (None, None);
        let month = month.to_string();
        for record in Record::all(&self.months())?.into_iter().rev() {
            // Another model reads the same data as other numbers.
            if record.month >= month || record.champion != champion.number {
                continue;
            }
            let Some(ended) = record.ended else { continue };
            let folder = ended.stages.get(DataCheck::NAME);
            // One that is damaged is done without.
            let store = Store::at(&self.store(), "");
            let folder = folder.and_then(|folder| store.whole(folder));
            let file = folder.map(|folder| folder.join(Profile::SEEN));
            let Some(file) = file.filter(|file| file.is_file()) else {
                continue;
            };
            if ended.verdict != Verdict::Failed {
                sound.get_or_insert_with(|| file.clone());
            }
            seen.get_or_insert(file);
        }
        Ok(Some(Before {
            sound: sound.unwrap_or_else(|| own.clone()),
            seen: seen.unwrap_or(own),
        }))
    }

    /// End of the last earlier month whose data were refused.
    fn sound_from(&self, month: Month) -> Result<i64> {
        let mut from = i64::MIN;
        for record in Record::all(&self.months())? {
            let unsound = record.ended.as_ref().is_some_and(|ended| ended.unsound);
            if unsound && record.month < month.to_string() {
                from = Month::parse(&record.month)?.next().begins();
            }
        }
        Ok(from)
    }

    pub(super) fn job(
        &self,
        logs: &LogFiles,
        month: Month,
        champion: Option<Champion>,
        mark: String,
    ) -> Result<Arc<Job>> {
        let before = self.before(champion.as_ref(), month)?;
        let sound_from = self.sound_from(month)?;
        let mut job = Job {
            month,
            before,
            sound_from,
            file: self.file.clone(),
            section: self.section.clone(),
            registry: self.registry.clone(),
            champion,
            logs: logs.clone(),
            seed: self.seed,
            threads: self.threads,
            device: self.section.device.parse::<DeviceSpec>()?,
            command: format!("slate retrain --month {month}"),
            memory: self.memory,
            mark,
        };
        job.logs = logs.between(job.sees_from(), job.sees_until());
        if job.logs.files.is_empty() {
            let told = format!("`{}` has no logs of {month}", self.section.logs);
            return Err(Refusal::new(told)
                .hint("expected Parquet, CSV or JSON lines as `slate features --logs` reads them")
                .into());
        }
        Ok(Arc::new(job))
    }
}
