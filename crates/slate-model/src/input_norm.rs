//! Which normalisation dense inputs have, as files say it.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How dense inputs are normalised. Files have `false` for none, `true` for `Layer` (both are older than
/// the names and still read) and `"batch"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputNorm {
    /// Not at all.
    #[default]
    None,
    /// Those of a slot together, by their mean and deviation.
    Layer,
    /// Each by its mean and deviation over the slots of a training batch; when scoring, by running means
    /// of both.
    Batch,
}

impl InputNorm {
    /// As messages have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "left out",
            Self::Layer => "layer",
            Self::Batch => "batch",
        }
    }
}

impl Serialize for InputNorm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            Self::Layer => serializer.serialize_bool(true),
            Self::Batch => serializer.serialize_str("batch"),
        }
    }
}

impl<'de> Deserialize<'de> for InputNorm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;

        impl Visitor<'_> for Named {
            type Value = InputNorm;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("\"layer\", \"batch\" or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<InputNorm, E> {
                Ok(if value {
                    InputNorm::Layer
                } else {
                    InputNorm::None
                })
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<InputNorm, E> {
                match value {
                    "layer" => Ok(InputNorm::Layer),
                    "batch" => Ok(InputNorm::Batch),
                    other => Err(E::unknown_variant(other, &["layer", "batch"])),
                }
            }
        }

        deserializer.deserialize_any(Named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_flags_and_names() {
        let read = |text: &str| serde_json::from_str::<InputNorm>(text);
        for (text, expected, written) in [
            ("false", InputNorm::None, "false"),
            ("true", InputNorm::Layer, "true"),
            ("\"layer\"", InputNorm::Layer, "true"),
            ("\"batch\"", InputNorm::Batch, "\"batch\""),
        ] {
            let found = read(text).unwrap();
            assert_eq!(found, expected);
            assert_eq!(serde_json::to_string(&found).unwrap(), written);
        }
        let told = read("\"bacth\"").unwrap_err().to_string();
        assert!(
            told.contains("unknown variant `bacth`, expected `layer` or `batch`"),
            "{told}"
        );
        let told = read("3").unwrap_err().to_string();
        assert!(
            told.contains("expected \"layer\", \"batch\" or false"),
            "{told}"
        );
    }
}
