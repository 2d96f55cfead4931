//! Pictures from bytes: JPEG, PNG, WebP and GIF, within limits.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

/// Most pixels along a side.
const MOST_SIDE: u32 = 16_384;
/// Most pixels.
const MOST_PIXELS: u64 = 1 << 26;
/// Most bytes a decoder may ask for.
const MOST_BYTES: u64 = 1 << 29;

/// A decoded picture: rows of red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// Why bytes are no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There is nothing.
    #[error("empty file")]
    Empty,
    /// None of the formats that are read.
    #[error("not a JPEG, PNG, WebP or GIF")]
    Format,
    /// More pixels or bytes than a picture may have.
    #[error("larger than 16384 pixels a side or 64 megapixels")]
    TooLarge,
    /// The decoder gave up.
    #[error("broken: {told}")]
    Broken {
        /// What it said.
        told: String,
    },
}

impl Picture {
    /// Decodes a picture. Of an animated one the first frame is taken; grey becomes three equal
    /// colours, 16 bits become 8, transparency is dropped as by Pillow's `convert("RGB")`, and the
    /// orientation that a camera noted is not applied, as torchvision does not.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.is_empty() {
            return Err(Refused::Empty);
        }
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let mut reader = reader.map_err(|error| Refused::Broken {
            told: error.to_string(),
        })?;
        let format = reader.format();
        if format.is_none() {
            return Err(Refused::Format);
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(MOST_SIDE);
        limits.max_image_height = Some(MOST_SIDE);
        limits.max_alloc = Some(MOST_BYTES);
        reader.limits(limits);
        let refused = |error| match error {
            ImageError::Limits(_) => Refused::TooLarge,
            ImageError::Unsupported(_) => Refused::Format,
            error => Refused::Broken {
                told: error.to_string(),
            },
        };
        let decoder = reader.into_decoder().map_err(refused)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(Refused::TooLarge);
        }
        let decoded = DynamicImage::from_decoder(decoder).map_err(refused)?;
        // The decoder fills up with grey what is not there.
        if format == Some(ImageFormat::Jpeg) && !ends(bytes) {
            return Err(Refused::Broken {
                told: "the file ends before the picture does".to_owned(),
            });
        }
        let picture = decoded.into_rgb8();
        let (width, height) = picture.dimensions();
        if width == 0 || height == 0 {
            return Err(Refused::Empty);
        }
        #[cfg(feature = "libjpeg")]
        if format == Some(ImageFormat::Jpeg)
            && let Some(rgb) = super::libjpeg::rgb(bytes, width, height)
        {
            return Ok(Self { width, height, rgb });
        }
        Ok(Self {
            width,
            height,
            rgb: picture.into_raw(),
        })
    }
}

/// Whether a JPEG has its end, behind where its picture begins: a small picture in its notes has one
/// of its own.
fn ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xFF, kind, high, low]) = bytes.get(at..at + 4) {
        if kind == 0xDA {
            break;
        }
        if kind == 0xFF {
            // Any number of these may stand before a mark.
            at += 1;
        } else {
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.windows(2).any(|pair| pair == [0xFF, 0xD9])
}
