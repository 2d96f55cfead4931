//! Pictures, beside Pillow, torchvision and networks built as torchvision builds them.

use std::fs;

use sha2::{Digest, Sha256};
use slate_embed::{
    EmbedDevice, Filter, Picture, PictureEncoder, PictureOptions, Preprocess, Refused, resize,
};

use crate::{apart, data, expected, numbers};

fn picture(name: &str) -> Picture {
    let bytes = fs::read(data("tiny_resnet").join(name)).unwrap();
    Picture::decode(&bytes).unwrap()
}

#[test]
fn pictures_are_brought_to_size_as_by_pillow_and_torchvision() {
    let expected = expected("tiny_resnet");
    let preprocess = Preprocess::default();
    for name in ["drawing.png", "tall.png", "flat.png"] {
        let of = &expected["pictures"][name];
        let numbers_found = preprocess.apply(&picture(name));
        // Back to colours: bit for bit what Pillow makes of the picture.
        let crop: Vec<u8> = numbers_found
            .chunks_exact(3)
            .flat_map(|place| {
                [0, 1, 2].map(|at| {
                    let value = place[at] * preprocess.std[at] + preprocess.mean[at];
                    (value * 255.0).round() as u8
                })
            })
            .collect();
        let hash: String = Sha256::digest(&crop)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hash, of["crop_sha256"], "{name}");
        let side = 224;
        let positions: Vec<[usize; 3]> =
            serde_json::from_value(expected["positions"].clone()).unwrap();
        let found: Vec<f32> = positions
            .iter()
            .map(|[channel, row, column]| numbers_found[(row * side + column) * 3 + channel])
            .collect();
        assert!(apart(&found, &numbers(&of["values"])) < 1e-5, "{name}");
    }
}

/// The colours that Pillow sees in a JPEG are in a PNG beside it.
#[test]
#[cfg(feature = "libjpeg")]
fn libjpeg_sees_the_colours_that_pillow_sees() {
    assert_eq!(picture("drawing.jpg"), picture("drawing.png"));
}

#[test]
fn vectors_are_those_of_torchvisions_networks() {
    let expected = expected("tiny_resnet");
    for kind in ["basic", "bottleneck", "bottleneck_deeper"] {
        let folder = tempfile::tempdir().unwrap();
        let weights = data("tiny_resnet").join(format!("{kind}.safetensors"));
        fs::copy(weights, folder.path().join("model.safetensors")).unwrap();
        let options = PictureOptions {
            folder: folder.path().to_path_buf(),
            normalize: Some(false),
        };
        let encoder = PictureEncoder::open(&options, EmbedDevice::Cpu).unwrap();
        let names = ["drawing.png", "tall.png", "flat.png"];
        let pictures = names.map(picture);
        let vectors = encoder.encode(&pictures, &|_| ()).unwrap();
        let width = encoder.identity().dimensions;
        for (name, vector) in names.iter().zip(vectors.chunks_exact(width)) {
            let worst = apart(vector, &numbers(&expected["features"][kind][name]));
            assert!(worst < 1e-5, "{kind} {name}: {worst}");
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = PictureOptions {
        folder: folder.path().to_path_buf(),
        normalize: None,
    };
    let error = PictureEncoder::open(&options, EmbedDevice::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has no file `model.safetensors` or one file"),
        "{error}"
    );
    // A network for texts is none for pictures.
    let weights = data("tiny_bert").join("model.safetensors");
    fs::copy(weights, folder.path().join("model.safetensors")).unwrap();
    let error = PictureEncoder::open(&options, EmbedDevice::Cpu)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`conv1.weight` is missing"), "{error}");
    assert!(error.contains("more"), "{error}");
    fs::write(folder.path().join("preprocess.json"), "{\"cropp\": 3}").unwrap();
    let error = PictureEncoder::open(&options, EmbedDevice::Cpu)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `cropp`"), "{error}");
}

#[test]
fn pictures_of_all_kinds_are_read_as_pillow_reads_them() {
    let expected = expected("pictures");
    for (name, of) in expected.as_object().unwrap() {
        let bytes = fs::read(data("pictures").join(name)).unwrap();
        let found = Picture::decode(&bytes);
        if of.get("error").is_some() || name == "plain.bmp" {
            let refused = match name.as_str() {
                "empty.jpg" => Refused::Empty,
                "bomb.png" => Refused::TooLarge,
                "text.jpg" | "plain.bmp" => Refused::Format,
                _ => Refused::Broken {
                    told: "the file ends before the picture does".to_owned(),
                },
            };
            assert_eq!(found.err(), Some(refused), "{name}");
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        let size: [u32; 2] = serde_json::from_value(of["size"].clone()).unwrap();
        assert_eq!([found.width, found.height], size, "{name}");
        let mut means = [0.0_f32; 3];
        for place in found.rgb.chunks_exact(3) {
            for (mean, &colour) in means.iter_mut().zip(place) {
                *mean += f32::from(colour) / (size[0] * size[1]) as f32;
            }
        }
        // Pillow cuts 16 grey bits off at 255; here they are scaled.
        if name != "gray16.png" {
            let worst = apart(&means, &numbers(&of["rgb_mean"]));
            assert!(worst < 1.0, "{name}: {worst}: {means:?}");
        }
    }
}

#[test]
fn a_hair_of_a_picture_is_no_endless_one() {
    let hair = Picture {
        width: 1,
        height: 9000,
        rgb: vec![7; 27_000],
    };
    assert_eq!(Preprocess::default().apply(&hair).len(), 224 * 224 * 3);
    assert_eq!(resize(&hair, 3, 3, Filter::Bicubic).rgb, vec![7; 27]);
}
