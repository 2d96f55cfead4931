//! The four parts of a dataset, in the order of time.

use serde::{Deserialize, Serialize};

/// Which part of a dataset a row belongs to. Parts never overlap; `Calibrate` is seen by neither
/// training nor testing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights and the feature map are fitted here.
    Train,
    /// Early stopping and choices are made here.
    Valid,
    /// Calibrators are fitted here.
    Calibrate,
    /// Reported numbers come from here.
    Test,
}

impl Split {
    /// All parts, earliest first.
    pub const ALL: [Self; 4] = [Self::Train, Self::Valid, Self::Calibrate, Self::Test];

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Calibrate => "calibrate",
            Self::Test => "test",
        }
    }

    /// The part of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}
