//! Drawn pictures: one plain shape on a plain ground, as PNG.
//!
//! The category decides shape and hue, as a title says it too. The style's fourth and fifth dimensions colour the
//! ground, the sixth is the brightness of the shape, the seventh its size: a title tells of the first three and of
//! none of these. So a title and a picture both carry a signal about taste, each one its own, and an encoder of
//! pictures can be tested.

use crate::catalogue::Style;

/// Draws the picture of an item: RGB, 8 bits, `side` × `side` pixels.
pub(crate) fn draw(category: usize, style: &Style, side: u32) -> Vec<u8> {
    let squash = |value: f32| 1.0 / (1.0 + (-f64::from(value)).exp());
    // Steps of the golden ratio spread hues as far apart as possible.
    let hue = (category as f64 * 0.618_033_988_75).fract();
    let ink = rgb(hue, 0.7, 0.25 + 0.7 * squash(style[5]));
    // The same colours whatever the category, so that one look tells them: from yellow to blue.
    let tint = 0.15 + 0.5 * squash(style[3]);
    let ground = rgb(tint, 0.1 + 0.5 * squash(style[4]), 0.95);
    let reach = 0.35 + 0.6 * squash(style[6]);
    let mut pixels = Vec::with_capacity((side * side * 3) as usize);
    for row in 0..side {
        for column in 0..side {
            let place = |index: u32| (2.0 * f64::from(index) + 1.0) / f64::from(side) - 1.0;
            let (x, y) = (place(column) / reach, place(row) / reach);
            pixels.extend(if inside(category % 6, x, y) {
                ink
            } else {
                ground
            });
        }
    }
    encode(&pixels, side)
}

/// Whether a point is in shape number `shape`, which spans -1 to 1.
fn inside(shape: usize, x: f64, y: f64) -> bool {
    let radius = x.hypot(y);
    match shape {
        0 => radius <= 1.0,
        1 => x.abs().max(y.abs()) <= 0.85,
        2 => y <= 0.85 && x.abs() <= (y + 0.85) / 1.7,
        3 => (0.55..=1.0).contains(&radius),
        4 => x.abs() + y.abs() <= 1.0,
        _ => x.abs().max(y.abs()) <= 0.95 && x.abs().min(y.abs()) <= 0.3,
    }
}

/// Hue, saturation and value, each from 0 to 1, to red, green and blue.
fn rgb(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|offset| {
        let k: f64 = (offset + hue * 6.0) % 6.0;
        let part = value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0);
        (part * 255.0).round() as u8
    })
}

fn encode(pixels: &[u8], side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder
        .write_header()
        .and_then(|mut writer| {
            writer.write_image_data(pixels)?;
            writer.finish()
        })
        .expect("a buffer in memory takes a picture of the size announced");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    fn corner(fourth: f32, fifth: f32) -> [u8; 3] {
        let style = [0.0, 0.0, 0.0, fourth, fifth, 0.0, 0.0, 0.0];
        let (_, _, pixels) = decode(&draw(0, &style, 32));
        [pixels[0], pixels[1], pixels[2]]
    }

    #[test]
    fn style_shows_in_the_ground() {
        let spread = |[r, g, b]: [u8; 3]| r.max(g).max(b) - r.min(g).min(b);
        assert!(spread(corner(0.0, 2.0)) > 2 * spread(corner(0.0, -2.0)));
        assert_ne!(corner(-2.0, 1.0), corner(2.0, 1.0));
        // Its brightness stays, so that the shape's alone tells the sixth dimension.
        assert_eq!(
            corner(-2.0, 2.0).iter().max(),
            corner(2.0, -2.0).iter().max()
        );
    }

    /// Pixels that differ from the corner, and the brightest channel of the middle.
    fn ink(category: usize, sixth: f32, seventh: f32) -> (usize, u8) {
        let style = [0.0, 0.0, 0.0, 0.0, 0.0, sixth, seventh, 0.0];
        let (width, height, pixels) = decode(&draw(category, &style, 32));
        assert_eq!((width, height, pixels.len()), (32, 32, 32 * 32 * 3));
        let count = pixels
            .chunks(3)
            .filter(|pixel| *pixel != &pixels[..3])
            .count();
        let middle = (16 * 32 + 16) * 3;
        (
            count,
            pixels[middle..middle + 3].iter().copied().max().unwrap(),
        )
    }

    #[test]
    fn style_shows_as_brightness_and_size() {
        assert!(ink(0, 2.0, 0.0).1 > ink(0, -2.0, 0.0).1);
        assert!(ink(0, 0.0, 2.0).0 > ink(0, 0.0, -2.0).0);
    }

    #[test]
    fn every_shape_leaves_ink() {
        for category in 0..6 {
            assert!(ink(category, 0.0, 0.0).0 > 40, "shape {category}");
        }
    }
}
