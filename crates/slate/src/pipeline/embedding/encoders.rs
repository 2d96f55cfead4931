//! The encoders of a configuration behind one face: those without weights, and pretrained ones.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use slate_embed::{
    EmbedDevice, Identity, Picture, PictureEncoder, PictureOptions, TextEncoder, TextOptions,
    hashed,
};
use slate_types::Progress;

use crate::config::{EmbedSection, HASHED};

pub(super) enum Titles {
    Hashed,
    Pretrained(Box<TextEncoder>),
}

pub(super) enum Pictures {
    Hashed,
    Pretrained(Box<PictureEncoder>),
}

impl Titles {
    pub(super) fn open(section: &EmbedSection, device: EmbedDevice) -> Result<Option<Self>> {
        let Some(title) = &section.title else {
            return Ok(None);
        };
        if title.encoder == HASHED {
            return Ok(Some(Self::Hashed));
        }
        let options = TextOptions {
            folder: PathBuf::from(&title.encoder),
            pooling: title.pooling,
            normalize: title.normalize,
            max_tokens: title.max_tokens,
        };
        let encoder = TextEncoder::open(&options, device)
            .with_context(|| format!("cannot use the encoder of titles `{}`", title.encoder))?;
        Ok(Some(Self::Pretrained(Box::new(encoder))))
    }

    pub(super) fn identity(&self) -> Identity {
        match self {
            Self::Hashed => hashed::title_identity(),
            Self::Pretrained(encoder) => encoder.identity().clone(),
        }
    }

    pub(super) fn encode(&self, titles: &[String], bar: &dyn Progress) -> Result<Vec<f32>> {
        let done = |count: usize| bar.advance(count as u64);
        match self {
            Self::Hashed => {
                let vectors = titles.par_iter().map(|title| hashed::title(title));
                let vectors: Vec<Vec<f32>> = vectors.collect();
                done(titles.len());
                Ok(vectors.concat())
            }
            Self::Pretrained(encoder) => {
                let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
                Ok(encoder.encode(&titles, &done)?)
            }
        }
    }
}

impl Pictures {
    pub(super) fn open(section: &EmbedSection, device: EmbedDevice) -> Result<Option<Self>> {
        let Some(image) = &section.image else {
            return Ok(None);
        };
        if image.encoder == HASHED {
            return Ok(Some(Self::Hashed));
        }
        let options = PictureOptions {
            folder: PathBuf::from(&image.encoder),
            normalize: image.normalize,
        };
        let encoder = PictureEncoder::open(&options, device)
            .with_context(|| format!("cannot use the encoder of pictures `{}`", image.encoder))?;
        Ok(Some(Self::Pretrained(Box::new(encoder))))
    }

    pub(super) fn identity(&self) -> Identity {
        match self {
            Self::Hashed => hashed::picture_identity(),
            Self::Pretrained(encoder) => encoder.identity().clone(),
        }
    }

    pub(super) fn encode(&self, pictures: &[Picture], bar: &dyn Progress) -> Result<Vec<f32>> {
        let done = |count: usize| bar.advance(count as u64);
        match self {
            Self::Hashed => {
                let vectors: Vec<Vec<f32>> = pictures.par_iter().map(hashed::picture).collect();
                done(pictures.len());
                Ok(vectors.concat())
            }
            Self::Pretrained(encoder) => Ok(encoder.encode(pictures, &done)?),
        }
    }
}
