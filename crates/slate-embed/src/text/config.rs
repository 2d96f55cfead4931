//! What an encoder's folder says about itself.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Pooling;
use crate::EmbedError;

/// Networks whose weights are named alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    DistilBert,
    /// `RoBERTa` and `XLM-RoBERTa`: BERT whose positions are counted from behind the padding id.
    Roberta,
}

/// The parts of `config.json` that say what the network is.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) family: Family,
    raw: Raw,
}

#[derive(Debug, Clone, Deserialize)]
struct Raw {
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default = "bert_epsilon")]
    layer_norm_eps: f64,
    #[serde(alias = "activation")]
    hidden_act: String,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default)]
    type_vocab_size: Option<usize>,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn bert_epsilon() -> f64 {
    1e-12
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Self, EmbedError> {
        let refused = |problem: String| EmbedError::Config {
            path: path.to_path_buf(),
            problem,
        };
        let text = fs::read_to_string(path).map_err(EmbedError::io("read", path))?;
        let value: Value = serde_json::from_str(&text).map_err(|e| refused(e.to_string()))?;
        let family = match value["model_type"].as_str() {
            Some("bert") => Family::Bert,
            Some("distilbert") => Family::DistilBert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            given => {
                let given = given.unwrap_or("missing");
                return Err(refused(format!(
                    "`model_type` is `{given}`, expected bert, distilbert, roberta, xlm-roberta or \
                     camembert"
                )));
            }
        };
        let raw: Raw = serde_json::from_value(value).map_err(|e| refused(e.to_string()))?;
        if !["gelu", "relu"].contains(&raw.hidden_act.as_str()) {
            let given = &raw.hidden_act;
            return Err(refused(format!(
                "`hidden_act` is `{given}`, expected gelu or relu"
            )));
        }
        let positions = raw.position_embedding_type.as_deref().unwrap_or("absolute");
        if positions != "absolute" {
            return Err(refused(format!(
                "`position_embedding_type` is `{positions}`, expected absolute"
            )));
        }
        let sizes = [
            ("hidden_size", raw.hidden_size),
            ("num_attention_heads", raw.num_attention_heads),
            ("vocab_size", raw.vocab_size),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(refused(format!("`{key}` is 0, expected at least 1")));
        }
        if !raw.hidden_size.is_multiple_of(raw.num_attention_heads) {
            return Err(refused(format!(
                "`hidden_size` {} is no multiple of `num_attention_heads` {}",
                raw.hidden_size, raw.num_attention_heads
            )));
        }
        let config = Self { family, raw };
        if config.positions() < 3 {
            return Err(refused(
                "`max_position_embeddings` leaves no room for a token between two marks".to_owned(),
            ));
        }
        Ok(config)
    }

    pub(super) fn hidden(&self) -> usize {
        self.raw.hidden_size
    }

    pub(super) fn layers(&self) -> usize {
        self.raw.num_hidden_layers
    }

    pub(super) fn heads(&self) -> usize {
        self.raw.num_attention_heads
    }

    pub(super) fn inner(&self) -> usize {
        self.raw.intermediate_size
    }

    pub(super) fn vocabulary(&self) -> usize {
        self.raw.vocab_size
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.raw.layer_norm_eps
    }

    pub(super) fn is_gelu(&self) -> bool {
        self.raw.hidden_act == "gelu"
    }

    pub(super) fn types(&self) -> usize {
        self.raw.type_vocab_size.unwrap_or(2)
    }

    /// Rows of the table of positions.
    pub(super) fn position_rows(&self) -> usize {
        self.raw.max_position_embeddings
    }

    /// The row of the first token.
    pub(super) fn first_position(&self) -> usize {
        match self.family {
            Family::Bert | Family::DistilBert => 0,
            Family::Roberta => self.raw.pad_token_id.unwrap_or(1) + 1,
        }
    }

    /// Most tokens of a text.
    pub(super) fn positions(&self) -> usize {
        self.position_rows().saturating_sub(self.first_position())
    }
}

/// The value of a file of JSON, where there is one.
fn optional(path: &Path) -> Result<Option<Value>, EmbedError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(EmbedError::io("read", path))?;
    let value = serde_json::from_str(&text).map_err(|error| EmbedError::Config {
        path: path.to_path_buf(),
        problem: error.to_string(),
    })?;
    Ok(Some(value))
}

/// The pooling that sentence-transformers wrote down, or the mean.
pub(super) fn pooling(path: &Path) -> Result<Pooling, EmbedError> {
    let Some(value) = optional(path)? else {
        return Ok(Pooling::Mean);
    };
    let is = |key: &str| value[key].as_bool() == Some(true);
    let others = [
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    ];
    let other = others
        .iter()
        .find(|name| is(&format!("pooling_mode_{name}")));
    match (
        is("pooling_mode_mean_tokens"),
        is("pooling_mode_cls_token"),
        other,
    ) {
        (true, false, None) => Ok(Pooling::Mean),
        (false, true, None) => Ok(Pooling::Cls),
        _ => Err(EmbedError::Config {
            path: path.to_path_buf(),
            problem: "its pooling is neither the mean nor the first token alone; set `pooling`"
                .to_owned(),
        }),
    }
}

/// The longest text that sentence-transformers wrote down.
pub(super) fn max_tokens(path: &Path) -> Result<Option<usize>, EmbedError> {
    let value = optional(path)?;
    let most = value.and_then(|value| value["max_seq_length"].as_u64());
    Ok(most.map(|most| most as usize))
}
