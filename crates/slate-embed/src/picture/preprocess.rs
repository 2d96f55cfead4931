//! What is done to a picture before a network sees it, as torchvision's `Resize`, `CenterCrop`,
//! `ToTensor` and `Normalize` do it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Picture, resize};
use crate::EmbedError;

/// From a picture to the numbers `[crop, crop, 3]` that a network reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocess {
    /// Length of the shorter side after resizing; with `square`, of both.
    pub resize: u32,
    /// Side of the square cut from the middle.
    pub crop: u32,
    /// Whether resizing ignores the picture's shape.
    pub square: bool,
    /// How places are mixed when resizing.
    pub filter: Filter,
    /// Which colour comes first.
    pub channels: Channels,
    /// What colours, 0 to 255, are multiplied with first.
    pub scale: f32,
    /// Taken from the colours after that, in the order of `channels`.
    pub mean: [f32; 3],
    /// And divided by.
    pub std: [f32; 3],
    /// Places added before and after at the first convolution. Left out: half of its kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem_padding: Option<[usize; 2]>,
    /// And at the pooling behind it. Left out: 1 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_padding: Option<[usize; 2]>,
    /// Whether a bottleneck shrinks pictures in its first convolution, as the first residual networks
    /// did, and not in its second.
    pub stride_first: bool,
}

impl Default for Preprocess {
    /// That of torchvision's `ImageNet` weights.
    fn default() -> Self {
        Self {
            resize: 256,
            crop: 224,
            square: false,
            filter: Filter::Bilinear,
            channels: Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            stem_padding: None,
            pool_padding: None,
            stride_first: false,
        }
    }
}

/// How places are mixed when a picture is brought to another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = −1/2.
    Bicubic,
}

impl Filter {
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    pub(super) fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }
}

/// The order of a place's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

impl Preprocess {
    /// What a folder of weights says: our own `preprocess.json`, timm's `config.json`, or
    /// `preprocessor_config.json` of transformers; where there is none of them, torchvision's.
    ///
    /// # Errors
    /// [`EmbedError::Io`], [`EmbedError::Config`].
    pub fn of_folder(folder: &Path) -> Result<Self, EmbedError> {
        let read = |name: &str| -> Result<Option<String>, EmbedError> {
            let path = folder.join(name);
            if !path.is_file() {
                return Ok(None);
            }
            let text = fs::read_to_string(&path).map_err(EmbedError::io("read", &path))?;
            Ok(Some(text))
        };
        let refused = |name: &str, problem: String| EmbedError::Config {
            path: folder.join(name),
            problem,
        };
        let parse = |name: &str, text: &str| -> Result<Value, EmbedError> {
            serde_json::from_str(text).map_err(|error| refused(name, error.to_string()))
        };
        let mut name = "preprocess.json";
        let found = if let Some(text) = read(name)? {
            serde_json::from_str(&text).map_err(|error| refused(name, error.to_string()))?
        } else if let Some(config) = timm_config(read("config.json")?, &parse)? {
            name = "config.json";
            Self::of_timm(&config).map_err(|problem| refused(name, problem))?
        } else if let Some(text) = read("preprocessor_config.json")? {
            name = "preprocessor_config.json";
            Self::of_transformers(&parse(name, &text)?).map_err(|problem| refused(name, problem))?
        } else {
            Self::default()
        };
        found.check().map_err(|problem| refused(name, problem))?;
        Ok(found)
    }

    fn check(&self) -> Result<(), String> {
        let most = 4096;
        if !(1..=most).contains(&self.crop) || !(self.crop..=most).contains(&self.resize) {
            return Err(format!(
                "`resize` is {} and `crop` {}, expected 1 ≤ crop ≤ resize ≤ {most}",
                self.resize, self.crop
            ));
        }
        let finite = self
            .mean
            .iter()
            .chain(&self.std)
            .all(|value| value.is_finite());
        if !finite || self.std.iter().any(|&value| value <= 0.0) || !self.scale.is_finite() {
            return Err("`mean`, `std` or `scale` is out of range".to_owned());
        }
        Ok(())
    }

    fn of_timm(value: &Value) -> Result<Self, String> {
        let own = value.get("pretrained_cfg").unwrap_or(value);
        let mut found = Self::default();
        if let Some(side) = own["input_size"][2].as_u64() {
            found.crop = side as u32;
        }
        let share = own["crop_pct"].as_f64().unwrap_or(0.875);
        found.resize = (f64::from(found.crop) / share).floor() as u32;
        found.filter = match own["interpolation"].as_str() {
            None | Some("bilinear") => Filter::Bilinear,
            Some("bicubic") => Filter::Bicubic,
            Some(other) => {
                return Err(format!(
                    "`interpolation` is `{other}`, expected bilinear or bicubic"
                ));
            }
        };
        colours(own, "mean", &mut found.mean);
        colours(own, "std", &mut found.std);
        Ok(found)
    }

    fn of_transformers(value: &Value) -> Result<Self, String> {
        let mut found = Self::default();
        let size = &value["size"];
        let edge = size["shortest_edge"].as_u64().or(size.as_u64());
        if let Some(edge) = edge {
            let share = value["crop_pct"].as_f64().unwrap_or(1.0);
            found.crop = edge as u32;
            found.resize = (edge as f64 / share) as u32;
        }
        if let Some(side) = value["crop_size"]["height"].as_u64() {
            found.crop = side as u32;
            found.resize = edge.map_or(found.resize, |edge| edge as u32);
        }
        found.filter = match value["resample"].as_u64() {
            None | Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(other) => {
                return Err(format!(
                    "`resample` is {other}, expected 2, bilinear, or 3, bicubic"
                ));
            }
        };
        colours(value, "image_mean", &mut found.mean);
        colours(value, "image_std", &mut found.std);
        Ok(found)
    }

    /// The numbers of a picture, `[crop, crop, 3]`.
    pub fn apply(&self, picture: &Picture) -> Vec<f32> {
        let (width, height) = (picture.width, picture.height);
        let (wide, high) = if self.square {
            (self.resize, self.resize)
        } else {
            let longer = |long: u32, short: u32| {
                let scaled = u64::from(self.resize) * u64::from(long) / u64::from(short);
                // A hair of a picture must not become an endless one.
                scaled.min(u64::from(self.resize) * 64) as u32
            };
            if width <= height {
                (self.resize, longer(height, width))
            } else {
                (longer(width, height), self.resize)
            }
        };
        let sized = resize(picture, wide, high, self.filter);
        let side = self.crop as usize;
        // As Python rounds: halves to the even one.
        let margin = |length: u32| (f64::from(length - self.crop) / 2.0).round_ties_even() as usize;
        let (left, top) = (margin(wide), margin(high));
        let mut numbers = Vec::with_capacity(side * side * 3);
        for row in top..top + side {
            let from = (row * wide as usize + left) * 3;
            for place in sized.rgb[from..from + side * 3].chunks_exact(3) {
                for at in 0..3 {
                    let colour = match self.channels {
                        Channels::Rgb => place[at],
                        Channels::Bgr => place[2 - at],
                    };
                    let value = f32::from(colour) * self.scale;
                    numbers.push((value - self.mean[at]) / self.std[at]);
                }
            }
        }
        numbers
    }
}

/// A `config.json`, where it is timm's: transformers has one of the same name.
fn timm_config(
    text: Option<String>,
    parse: &dyn Fn(&str, &str) -> Result<Value, EmbedError>,
) -> Result<Option<Value>, EmbedError> {
    let value = text.map(|text| parse("config.json", &text)).transpose()?;
    let is_timm = |value: &Value| {
        ["pretrained_cfg", "architecture"]
            .iter()
            .any(|key| value.get(key).is_some())
    };
    Ok(value.filter(is_timm))
}

fn colours(value: &Value, key: &str, into: &mut [f32; 3]) {
    for (at, into) in into.iter_mut().enumerate() {
        if let Some(number) = value[key][at].as_f64() {
            *into = number as f32;
        }
    }
}
