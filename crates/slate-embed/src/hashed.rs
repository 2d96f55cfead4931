//! Encoders without weights: what a title's letters and a picture's colours and edges say.
//!
//! They find what is spelled or coloured alike and know nothing of meaning: two words for one thing
//! are as far apart as any two words. For demonstrations, and as what a real encoder must beat.

use twox_hash::XxHash64;

use crate::identity::Fingerprint;
use crate::{Filter, Identity, Picture, resize};

/// Numbers of a title's vector.
const TITLE: usize = 256;
/// Side that a picture is brought to.
const SIDE: usize = 64;
/// Squares along a side that colours and edges are counted in.
const COLOUR_SQUARES: usize = 2;
const EDGE_SQUARES: usize = 4;
/// Shades of each colour, and directions of edges.
const SHADES: usize = 3;
const DIRECTIONS: usize = 8;
const CUBE: usize = SHADES * SHADES * SHADES;
const COLOURS: usize = CUBE * COLOUR_SQUARES * COLOUR_SQUARES;
const EDGES: usize = DIRECTIONS * EDGE_SQUARES * EDGE_SQUARES;

/// What makes vectors of titles.
pub fn title_identity() -> Identity {
    Fingerprint::new("hashed title").finish("hashed", TITLE)
}

/// What makes vectors of pictures.
pub fn picture_identity() -> Identity {
    let mut fingerprint = Fingerprint::new("hashed picture, shades by share");
    if cfg!(feature = "libjpeg") {
        fingerprint.text("libjpeg");
    }
    fingerprint.finish("hashed", COLOURS + EDGES)
}

/// The vector of a title, 256 numbers of length 1: its words, and three to five letters of them that
/// stand together, in lower case, hashed with a sign to places; zeros for a title without letters
/// and digits.
pub fn title(title: &str) -> Vec<f32> {
    let mut vector = vec![0.0; TITLE];
    let mut add = |letters: &[char], share: f32| {
        let text: String = letters.iter().collect();
        let hash = XxHash64::oneshot(letters.len() as u64, text.as_bytes());
        let sign = if hash >> 63 == 0 { share } else { -share };
        vector[(hash % TITLE as u64) as usize] += sign;
    };
    for word in title
        .to_lowercase()
        .split(|letter: char| !letter.is_alphanumeric())
    {
        if word.is_empty() {
            continue;
        }
        let letters: Vec<char> = format!("<{word}>").chars().collect();
        add(&letters, 1.0);
        let parts: usize = (3..=5).map(|n| (letters.len() + 1).saturating_sub(n)).sum();
        // The parts of a word count as much as the word, however long it is.
        let share = 1.0 / (parts.max(1) as f32).sqrt();
        for n in 3..=5 {
            letters.windows(n).for_each(|part| add(part, share));
        }
    }
    crate::scale_to_one(&mut vector, TITLE);
    vector
}

/// The vector of a picture, of length 1: how often each of 27 colours, and what lies between them, is seen in
/// each quarter, and in which of eight directions the brightness changes in each of sixteen squares.
pub fn picture(picture: &Picture) -> Vec<f32> {
    let small = resize(picture, SIDE as u32, SIDE as u32, Filter::Bilinear);
    let mut colours = vec![0.0_f32; COLOURS];
    for (at, rgb) in small.rgb.chunks_exact(3).enumerate() {
        let square = |side: usize| side * COLOUR_SQUARES / SIDE;
        let square = square(at / SIDE) * COLOUR_SQUARES + square(at % SIDE);
        let of_square = &mut colours[square * CUBE..][..CUBE];
        // Each of the two shades on either side of a colour has its share, so that a small change of colour
        // is a small change of the vector.
        let shades = [0, 1, 2].map(|channel| {
            let place = f32::from(rgb[channel]) / 255.0 * (SHADES - 1) as f32;
            let below = (place as usize).min(SHADES - 2);
            (below, place - below as f32)
        });
        for corner in 0..8 {
            let (mut code, mut share) = (0, 1.0);
            for (channel, &(below, above)) in shades.iter().enumerate() {
                let up = corner >> channel & 1;
                code = code * SHADES + below + up;
                share *= if up == 1 { above } else { 1.0 - above };
            }
            of_square[code] += share;
        }
    }
    // Roots, so that a large background does not drown the rest.
    for count in &mut colours {
        *count = count.sqrt();
    }
    let grey = |x: usize, y: usize| -> f32 {
        let place = &small.rgb[(y * SIDE + x) * 3..][..3];
        place.iter().map(|&colour| f32::from(colour)).sum()
    };
    let mut edges = vec![0.0_f32; EDGES];
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            let across = grey(x + 1, y) - grey(x - 1, y);
            let down = grey(x, y + 1) - grey(x, y - 1);
            let turn = (down.atan2(across) / std::f32::consts::TAU).rem_euclid(1.0);
            let direction = ((turn * DIRECTIONS as f32) as usize).min(DIRECTIONS - 1);
            let square = y * EDGE_SQUARES / SIDE * EDGE_SQUARES + x * EDGE_SQUARES / SIDE;
            edges[square * DIRECTIONS + direction] += across.hypot(down);
        }
    }
    for sum in &mut edges {
        *sum = sum.sqrt();
    }
    crate::scale_to_one(&mut colours, COLOURS);
    crate::scale_to_one(&mut edges, EDGES);
    let mut vector = [colours, edges].concat();
    crate::scale_to_one(&mut vector, COLOURS + EDGES);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn titles_spelled_alike_are_near() {
        let [shoe, shoes, mill] = ["Red shoe", "red SHOES!", "coffee grinder"].map(title);
        assert!(cosine(&shoe, &shoes) > 0.6, "{}", cosine(&shoe, &shoes));
        assert!(cosine(&shoe, &mill).abs() < 0.2);
        assert!((cosine(&mill, &mill) - 1.0).abs() < 1e-6);
        assert_eq!(title(" — !"), vec![0.0; TITLE]);
        assert_eq!(title("Größe"), title("GRÖSSE".replace("SS", "ß").as_str()));
    }

    #[test]
    fn pictures_coloured_alike_are_near() {
        let of = |at: &dyn Fn(u32, u32) -> [u8; 3]| {
            let places = (0..50).flat_map(|y| (0..40).map(move |x| (x, y)));
            picture(&Picture {
                width: 40,
                height: 50,
                rgb: places.flat_map(|(x, y)| at(x, y)).collect(),
            })
        };
        let red = of(&|x, _| [220, (x * 2) as u8, 10]);
        let reddish = of(&|x, _| [200, (x * 2) as u8, 30]);
        let blue = of(&|_, y| [10, (y * 2) as u8, 220]);
        assert_eq!(red.len(), picture_identity().dimensions);
        assert!(cosine(&red, &reddish) > 0.9);
        // One step of colour, wherever it is, is nearly nothing.
        let plain = |shade: u8| of(&|_, _| [shade, 120, 240]);
        for shade in 1..255 {
            let near = cosine(&plain(shade), &plain(shade + 1));
            assert!(near > 0.99, "{shade} {near}");
        }
        assert!(cosine(&red, &blue) < 0.5);
    }
}
