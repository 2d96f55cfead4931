//! Titles to vectors with an encoder of the BERT family.

mod bert;
mod config;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tokenizers::{Tokenizer, TruncationParams};

use crate::identity::{Fingerprint, Identity};
use crate::layers::Texts;
use crate::{EmbedDevice, EmbedError};
use bert::Bert;
use config::{Config, Family};

/// Tokens that go through the network together on one thread: enough for the matrix products, few
/// enough for the caches.
const TOKENS: usize = 512;
/// The same on a card, which starts a kernel in the time in which it computes thousands of tokens.
const TOKENS_ON_CARD: usize = 16_384;

/// Which encoder of titles, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOptions {
    /// A folder with `config.json`, `tokenizer.json` and `model.safetensors`, or a model's folder in a
    /// Hugging Face cache.
    pub folder: PathBuf,
    /// How tokens become one vector. Left out: what the folder says in `1_Pooling/config.json`, or
    /// else the mean.
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1. Left out: yes.
    pub normalize: Option<bool>,
    /// Most tokens of a title, its two marks included; what is beyond is cut off. Left out: what the
    /// folder says in `sentence_bert_config.json`, or else all that the network has positions for.
    pub max_tokens: Option<usize>,
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token, the mark `[CLS]`.
    Cls,
}

/// A pretrained encoder of titles.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    network: Bert,
    device: Device,
    pooling: Pooling,
    normalize: bool,
    identity: Identity,
}

impl std::fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEncoder")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl TextEncoder {
    /// Reads an encoder.
    ///
    /// # Errors
    /// [`EmbedError::Io`] for a file that is not there, [`EmbedError::Config`] for a network that is
    /// not of the family, [`EmbedError::Layout`] for weights that do not fit it,
    /// [`EmbedError::Tokenizer`] for a vocabulary that does not.
    pub fn open(options: &TextOptions, device: EmbedDevice) -> Result<Self, EmbedError> {
        let folder = snapshot(&options.folder)?;
        let config = Config::read(&folder.join("config.json"))?;
        let pooling = match options.pooling {
            Some(pooling) => pooling,
            None => config::pooling(&folder.join("1_Pooling/config.json"))?,
        };
        let normalize = options.normalize.unwrap_or(true);
        let positions = config.positions();
        let asked = match options.max_tokens {
            Some(most) => Some(most),
            None => config::max_tokens(&folder.join("sentence_bert_config.json"))?,
        };
        if let Some(most) = options.max_tokens
            && !(3..=positions).contains(&most)
        {
            return Err(EmbedError::Option {
                key: "max_tokens",
                given: most.to_string(),
                expected: format!("a number from 3 to {positions}, the network's positions"),
            });
        }
        let most = asked.unwrap_or(positions).min(positions);
        if most < 3 {
            return Err(EmbedError::Config {
                path: folder.join("sentence_bert_config.json"),
                problem: format!("`max_seq_length` is {most}, expected at least 3"),
            });
        }
        let tokenizer = open_tokenizer(&folder.join("tokenizer.json"), &config, most)?;
        let device = device.open()?;
        let weights = weights_file(&folder)?;
        let network = Bert::load(&weights, &config, &device)?;
        let mut fingerprint = Fingerprint::new("text");
        for file in ["config.json", "tokenizer.json"] {
            fingerprint.file(&folder.join(file))?;
        }
        fingerprint.file(&weights)?;
        fingerprint.text(&format!("{pooling:?} {normalize} {most}"));
        let name = match config.family {
            Family::Bert => "bert",
            Family::DistilBert => "distilbert",
            Family::Roberta => "roberta",
        };
        let identity = fingerprint.finish(name, config.hidden());
        Ok(Self {
            tokenizer,
            network,
            device,
            pooling,
            normalize,
            identity,
        })
    }

    /// What makes its vectors: another identity means other vectors.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The vectors of texts, `[texts, dimensions]`. A text's vector depends on the text alone but for
    /// rounding; `done` hears of texts as they are finished, from any thread.
    ///
    /// # Errors
    /// [`EmbedError::Tokenizer`] for a text that cannot be cut into tokens, [`EmbedError::Compute`]
    /// for a device that fails.
    pub fn encode(
        &self,
        texts: &[&str],
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<f32>, EmbedError> {
        let tokens = texts
            .par_iter()
            .map(|text| self.tokens(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        // A vocabulary without special tokens leaves nothing of some texts: their vectors are zeros.
        order.retain(|&text| !tokens[text].is_empty());
        done(texts.len() - order.len());
        order.sort_by_key(|&text| tokens[text].len());
        let most = if self.device.is_cpu() {
            TOKENS
        } else {
            TOKENS_ON_CARD
        };
        let pieces = pieces(&order, most, |text| tokens[text].len());
        let width = self.identity.dimensions;
        let vectors: Vec<Vec<f32>> = pieces
            .par_iter()
            .map(|piece| {
                let ids: Vec<&[u32]> = piece.iter().map(|&text| &tokens[text][..]).collect();
                let vectors = self.vectors(&ids);
                done(piece.len());
                vectors
            })
            .collect::<Result<_, EmbedError>>()?;
        let mut all = vec![0.0; texts.len() * width];
        for (piece, vectors) in pieces.iter().zip(&vectors) {
            for (&text, vector) in piece.iter().zip(vectors.chunks_exact(width)) {
                all[text * width..(text + 1) * width].copy_from_slice(vector);
            }
        }
        Ok(all)
    }

    /// The ids of a text's tokens, marks included, cut to the longest.
    ///
    /// # Errors
    /// [`EmbedError::Tokenizer`].
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        let encoding = self.tokenizer.encode_fast(text, true);
        let encoding = encoding.map_err(|error| EmbedError::Tokenizer {
            path: PathBuf::from("tokenizer.json"),
            problem: error.to_string(),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    fn vectors(&self, ids: &[&[u32]]) -> Result<Vec<f32>, EmbedError> {
        let texts = Texts {
            lengths: ids.iter().map(|ids| ids.len()).collect(),
        };
        let flat: Vec<u32> = ids.concat();
        let states = self.network.forward(&flat, &texts, &self.device)?;
        let width = self.identity.dimensions;
        let states: Vec<f32> = states.flatten_all()?.to_vec1()?;
        let mut vectors = Vec::with_capacity(ids.len() * width);
        for range in texts.ranges() {
            let rows = &states[range.start * width..range.end * width];
            let vector = match self.pooling {
                Pooling::Cls => rows[..width].to_vec(),
                Pooling::Mean => mean(rows, width),
            };
            vectors.extend(vector);
        }
        if self.normalize {
            crate::scale_to_one(&mut vectors, width);
        }
        Ok(vectors)
    }
}

fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let count = (rows.len() / width) as f32;
    let mut sums = slate_kernels::sum_of_rows(rows, width);
    for sum in &mut sums {
        *sum /= count;
    }
    sums
}

/// Cuts texts, shortest first, into pieces of about so many tokens.
fn pieces(order: &[usize], most: usize, length: impl Fn(usize) -> usize) -> Vec<&[usize]> {
    let mut pieces = Vec::new();
    let (mut from, mut tokens) = (0, 0);
    for (at, &text) in order.iter().enumerate() {
        let own = length(text);
        if at > from && tokens + own > most {
            pieces.push(&order[from..at]);
            (from, tokens) = (at, 0);
        }
        tokens += own;
    }
    if from < order.len() {
        pieces.push(&order[from..]);
    }
    pieces
}

/// The folder itself, or the newest snapshot in a model's folder of a Hugging Face cache.
fn snapshot(folder: &Path) -> Result<PathBuf, EmbedError> {
    let named = folder.join("refs/main");
    if folder.join("config.json").is_file() || !named.is_file() {
        return Ok(folder.to_path_buf());
    }
    let revision = fs::read_to_string(&named).map_err(EmbedError::io("read", &named))?;
    Ok(folder.join("snapshots").join(revision.trim()))
}

/// The file with the weights.
fn weights_file(folder: &Path) -> Result<PathBuf, EmbedError> {
    let names = ["model.safetensors", "pytorch_model.bin"];
    let found = names.map(|name| folder.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| EmbedError::Missing {
        folder: folder.to_path_buf(),
        expected: names.join("` or `"),
    })
}

fn open_tokenizer(path: &Path, config: &Config, most: usize) -> Result<Tokenizer, EmbedError> {
    let broken = |problem: String| EmbedError::Tokenizer {
        path: path.to_path_buf(),
        problem,
    };
    let bytes = fs::read(path).map_err(EmbedError::io("read", path))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| broken(error.to_string()))?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= config.vocabulary() {
        return Err(broken(format!(
            "its vocabulary has the id {largest}, but the network has {} embeddings",
            config.vocabulary()
        )));
    }
    let truncation = TruncationParams {
        max_length: most,
        ..TruncationParams::default()
    };
    tokenizer
        .with_truncation(Some(truncation))
        .map_err(|error| broken(error.to_string()))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
