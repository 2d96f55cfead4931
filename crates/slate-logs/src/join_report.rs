//! Where the events of a log went: each is attributed, late, orphan or duplicate, and the four add
//! up to the input.

use serde::Serialize;

use crate::LogError;

/// The ends of all events, by type. Rows set aside as unusable are not events and not in here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JoinReport {
    /// One line for each type that the log has, in the order of
    /// [`EVENT_TYPES`](slate_types::log::EVENT_TYPES).
    pub lines: Vec<JoinLine>,
}

/// The ends of the events of one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JoinLine {
    /// The type, `total` for the sum of all.
    pub event_type: String,
    /// Events read, duplicates included.
    pub input: u64,
    /// Credited to a placement. For a cancel: it reversed a credited purchase.
    pub attributed: u64,
    /// There was a placement, too long before; or the event came after the date of the labels.
    pub late: u64,
    /// There was no placement it could belong to.
    pub orphan: u64,
    /// A repeat of an event that is counted already.
    pub duplicate: u64,
    /// Of the attributed: taken back by a cancel.
    pub reversed: u64,
    /// Of the attributed: gone to another item of the same seller.
    pub halo: u64,
    /// Of the late and the orphans: the placement was shown only after the event, so clocks may
    /// differ.
    pub early: u64,
}

impl JoinReport {
    /// The line of this type, all zero where the log has none.
    pub fn line(&self, event_type: &str) -> JoinLine {
        self.lines
            .iter()
            .find(|line| line.event_type == event_type)
            .cloned()
            .unwrap_or_else(|| JoinLine {
                event_type: event_type.to_owned(),
                ..JoinLine::default()
            })
    }

    /// The sum of all lines.
    pub fn total(&self) -> JoinLine {
        let mut total = JoinLine {
            event_type: "total".to_owned(),
            ..JoinLine::default()
        };
        for line in &self.lines {
            total.input += line.input;
            total.attributed += line.attributed;
            total.late += line.late;
            total.orphan += line.orphan;
            total.duplicate += line.duplicate;
            total.reversed += line.reversed;
            total.halo += line.halo;
            total.early += line.early;
        }
        total
    }

    /// Checks that nothing was lost or counted twice, for each type and, against the number of
    /// events that were read, in total.
    ///
    /// # Errors
    /// [`LogError::Unbalanced`] names the first type that does not add up.
    pub fn check(&self, events: u64) -> Result<(), LogError> {
        let total = self.total();
        for line in self.lines.iter().chain([&total]) {
            let counted = line.attributed + line.late + line.orphan + line.duplicate;
            let input = if line.event_type == "total" {
                events
            } else {
                line.input
            };
            if counted != input || line.reversed > line.attributed {
                let event_type = line.event_type.clone();
                return Err(LogError::Unbalanced {
                    event_type,
                    input,
                    counted,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_event_is_noticed() {
        let line = JoinLine {
            event_type: "click".into(),
            input: 5,
            attributed: 1,
            late: 1,
            orphan: 1,
            duplicate: 2,
            ..JoinLine::default()
        };
        let report = JoinReport {
            lines: vec![line.clone()],
        };
        assert!(report.check(5).is_ok());
        assert_eq!(
            report.check(6).unwrap_err().to_string(),
            "6 `total` events went in and 5 came out"
        );
        let lost = JoinReport {
            lines: vec![JoinLine { input: 6, ..line }],
        };
        assert_eq!(
            lost.check(6).unwrap_err().to_string(),
            "6 `click` events went in and 5 came out"
        );
    }
}
