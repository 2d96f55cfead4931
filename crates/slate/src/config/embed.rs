//! `[embed]`: which columns of a table of items are embedded, and by which encoders.

use serde::{Deserialize, Serialize};
use slate_embed::Pooling;

/// Name of the encoders without weights.
pub(crate) const HASHED: &str = "hashed";

/// `[embed]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EmbedSection {
    /// Column with the item's id.
    pub(crate) id: String,
    /// Vectors of titles, where there are to be any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<TitleSection>,
    /// Vectors of pictures, where there are to be any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<ImageSection>,
}

impl Default for EmbedSection {
    fn default() -> Self {
        Self {
            id: "item_id".to_owned(),
            title: None,
            image: None,
        }
    }
}

/// `[embed.title]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TitleSection {
    /// `hashed`, or a folder with a network of the BERT family.
    pub(crate) encoder: String,
    /// Columns that are joined with spaces.
    pub(crate) columns: Vec<String>,
    /// How tokens become one vector; left out: what the folder says, or else the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1; left out: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) normalize: Option<bool>,
    /// Most tokens of a title; left out: what the folder says, or all the network has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_tokens: Option<usize>,
}

impl Default for TitleSection {
    fn default() -> Self {
        Self {
            encoder: HASHED.to_owned(),
            columns: vec!["title".to_owned()],
            pooling: None,
            normalize: None,
            max_tokens: None,
        }
    }
}

/// `[embed.image]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ImageSection {
    /// `hashed`, or a folder with a residual network.
    pub(crate) encoder: String,
    /// Column with the picture's bytes, or its path.
    pub(crate) column: String,
    /// Whether vectors are scaled to length 1; left out: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) normalize: Option<bool>,
}

impl TitleSection {
    /// Whether vectors come out with length 1.
    pub(crate) fn is_unit(&self) -> bool {
        is_unit(&self.encoder, self.normalize)
    }
}

impl ImageSection {
    /// Whether vectors come out with length 1.
    pub(crate) fn is_unit(&self) -> bool {
        is_unit(&self.encoder, self.normalize)
    }
}

fn is_unit(encoder: &str, normalize: Option<bool>) -> bool {
    encoder == HASHED || normalize.unwrap_or(true)
}

impl Default for ImageSection {
    fn default() -> Self {
        Self {
            encoder: HASHED.to_owned(),
            column: "image".to_owned(),
            normalize: None,
        }
    }
}
