//! Titles and pictures to vectors: new ones alone, through kills, for training and for search.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::program::{SMALL, config, slate, start};

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// The header and the numbers of an `.npy`.
pub(crate) fn npy(path: &Path) -> (String, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let from = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..from]).into_owned();
    (header, bytes[from..].to_vec())
}

pub(crate) fn floats(path: &Path) -> Vec<f32> {
    let (_, bytes) = npy(path);
    let four = bytes.chunks_exact(4);
    four.map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// Folders of small encoders, made by PyTorch, that the crate of encoders is held to.
fn encoder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../slate-embed/tests/data")
        .join(name)
        .canonicalize()
        .unwrap()
}

#[test]
fn only_what_is_new_is_computed_and_old_vectors_stay() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "items.csv",
        "item_id,title\n5,red shoe\n7,coffee grinder\n6,red shoe\n9,\n",
    );
    let line = "embed --items items.csv --out vectors --title hashed --json";
    let first = slate(folder, line).done().json();
    assert_eq!(
        (&first["items"], &first["computed"]["title"]),
        (&4.into(), &2.into())
    );
    assert_eq!(first["title"]["with"], 3);
    let (header, ids) = npy(&folder.join("vectors/items/item_id.npy"));
    assert!(
        header.contains("'<i8'") && header.contains("(4, )"),
        "{header}"
    );
    assert_eq!(
        ids.chunks_exact(8).map(|id| id[0]).collect::<Vec<_>>(),
        [5, 7, 6, 9]
    );
    let table = floats(&folder.join("vectors/items/title.npy"));
    let width = table.len() / 4;
    assert_eq!(table[..width], table[2 * width..3 * width]);
    assert!(table[3 * width..].iter().all(|value| *value == 0.0));
    let part = fs::read(folder.join("vectors/title/vectors-000000.npy")).unwrap();

    let again = slate(folder, line).done().json();
    assert_eq!(
        (&again["computed"]["title"], &again["unchanged"]),
        (&0.into(), &true.into())
    );

    write(
        folder,
        "items.csv",
        "item_id,title\n5,red shoe\n6,blue shoe\n6,twice\nx,no id\n",
    );
    let day = slate(folder, line).done().json();
    assert_eq!(
        (&day["computed"]["title"], &day["rejects"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        fs::read(folder.join("vectors/title/vectors-000000.npy")).unwrap(),
        part
    );
    let new = floats(&folder.join("vectors/items/title.npy"));
    assert_eq!(new[..width], table[..width]);
    let rejects = fs::read_to_string(folder.join("vectors/items/rejects.csv")).unwrap();
    assert!(
        rejects.contains("6,item,the item stands twice"),
        "{rejects}"
    );
    assert!(
        rejects.contains("items.csv:5,\"the id is `x`, expected a whole number\""),
        "{rejects}"
    );

    let swept = slate(folder, &format!("{line} --gc")).done().json();
    assert_eq!(swept["removed"]["title"], 1);
    assert_eq!(floats(&folder.join("vectors/items/title.npy")), new);
}

#[test]
fn pictures_that_cannot_be_read_are_kept_aside_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let items = [
        "rgb.jpg",
        "truncated.jpg",
        "bomb.png",
        "empty.jpg",
        "text.jpg",
        "none.jpg",
        "cmyk.jpg",
    ];
    let lines: Vec<String> = items
        .iter()
        .enumerate()
        .map(|(id, name)| {
            format!("{{\"item_id\": {id}, \"title\": \"{name}\", \"image\": \"{name}\"}}\n")
        })
        .collect();
    write(folder, "items.jsonl", &lines.concat());
    let line = format!(
        "embed --items items.jsonl --pictures {} --out vectors --encoder hashed --json",
        encoder("pictures").display()
    );
    let done = slate(folder, &line).done().json();
    assert_eq!(
        (&done["image"]["with"], &done["rejects"]),
        (&2.into(), &5.into())
    );
    assert_eq!(done["title"]["with"], 7);
    let rejects = fs::read_to_string(folder.join("vectors/items/rejects.csv")).unwrap();
    for reason in [
        "1,image,broken: the file ends before the picture does",
        "2,image,larger than 16384 pixels a side or 64 megapixels",
        "3,image,empty file",
        "4,image,\"not a JPEG, PNG, WebP or GIF\"",
        "5,image,cannot be read: entity not found",
    ] {
        assert!(rejects.contains(reason), "{reason} in {rejects}");
    }
    let again = slate(folder, &line).done().json();
    assert_eq!(
        (&again["unchanged"], &again["computed"]["image"]),
        (&true.into(), &0.into())
    );
    let found = slate(
        folder,
        "similar query 0 --vectors vectors --by image --json",
    )
    .done()
    .json();
    assert_eq!(found["nearest"][0]["item_id"], 6);
    let refused = slate(folder, "similar query 1 --vectors vectors --by image");
    refused.refused(&["item 1 has no vector", "rejects.csv"]);
    slate(folder, "similar query 99 --vectors vectors")
        .refused(&["there is no item 99 among the 7"]);
}

#[test]
fn a_killed_run_goes_on_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let count = 60_000;
    let lines: Vec<String> = (0..count)
        .map(|id| format!("{{\"item_id\": {id}, \"title\": \"item {id} of many\"}}\n"))
        .collect();
    write(folder, "items.jsonl", &lines.concat());
    slate(
        folder,
        "embed --items items.jsonl --out whole --title hashed",
    )
    .done();
    let line = "embed --items items.jsonl --out killed --title hashed --threads 1";
    let mut kills = 0;
    for delay in [40, 90, 20, 150, 60] {
        let mut child = start(folder, line);
        std::thread::sleep(Duration::from_millis(delay));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 2, "it was killed {kills} times only");
    slate(folder, line).done();
    for name in ["item_id.npy", "title.npy", "rejects.csv", "manifest.json"] {
        let of = |run: &str| fs::read(folder.join(run).join("items").join(name)).unwrap();
        assert_eq!(of("killed"), of("whole"), "{name}");
    }
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder.join("killed/title")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.ends_with(".partial"), "{name}");
        if name.starts_with("keys-") {
            keys.extend(npy(&path).1.chunks_exact(16).map(<[u8]>::to_vec));
        }
    }
    assert_eq!(keys.len(), count);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn pretrained_encoders_are_named_by_their_folders_and_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "items.csv",
        "item_id,name,kind\n1,ab,cd\n2,b,\n3,ab cd,\n",
    );
    write(
        folder,
        "my.toml",
        "format = 1\n[embed.title]\nencoder = \"hashed\"\ncolumns = [\"name\", \"kind\"]\n",
    );
    let bert = encoder("tiny_bert");
    let line = format!(
        "embed -c my.toml --items items.csv --out vectors --title {} --json",
        bert.display()
    );
    let done = slate(folder, &line).done().json();
    assert_eq!(done["title"]["identity"]["encoder"], "bert");
    // The first and the third title are one text.
    assert_eq!(done["computed"]["title"], 2);
    let table = floats(&folder.join("vectors/items/title.npy"));
    assert_eq!(table.len(), 3 * 32);
    assert_eq!(table[..32], table[64..]);
    let hashed = "embed -c my.toml --items items.csv --out vectors";
    slate(folder, hashed).refused(&[
        "holds vectors of bert (32 numbers",
        "not of hashed (256 numbers",
        "one store, one encoder",
    ]);
    let forced = slate(folder, &format!("{hashed} --force --json"))
        .done()
        .json();
    assert_eq!(forced["computed"]["title"], 2);
    slate(folder, "embed --items items.csv --out other")
        .refused(&["no encoder is named", "--encoder hashed"]);
    slate(folder, "embed --items items.csv --out other --encoder bert")
        .refused(&["unknown encoder `bert`"]);
    slate(folder, "embed --items items.csv --out other --title none")
        .refused(&["cannot read `none/config.json`"]);
    slate(folder, "embed --items items.csv --out other --title hashed").refused(&[
        "there is no column `title`, found item_id, name, kind",
        "title.columns",
    ]);
    slate(folder, "embed --items none.csv --out other --title hashed").refused(&["none.csv"]);
}

#[test]
fn vectors_become_features_of_a_ranker() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let demo = config("demo.toml");
    let small = SMALL.replace("--set simulate.pictures=false", "");
    slate(
        folder,
        &format!("simulate -c {} {small} --out logs", demo.display()),
    )
    .done();
    let embedded = slate(
        folder,
        "embed --items logs --out vectors --encoder hashed --json",
    )
    .done()
    .json();
    assert_eq!(embedded["title"]["with"], embedded["items"]);
    assert_eq!(embedded["image"]["with"], embedded["items"]);
    let text = fs::read_to_string(&demo).unwrap();
    let text = text.replacen(
        "[split]",
        "[[features.embedding]]\nname = \"title\"\npath = \"vectors/items/title.npy\"\n\
         ids = \"vectors/items/item_id.npy\"\n\n[split]",
        1,
    );
    write(folder, "my.toml", &text);
    slate(
        folder,
        &format!("features -c my.toml {small} --logs logs --out dataset"),
    )
    .done();
    let line = format!("train -c my.toml {small} --set train.epochs=1 --data dataset --out run");
    slate(folder, &line).done();
    assert!(folder.join("dataset/embedding_title.npy").is_file());
}

#[test]
fn nothing_is_dropped_or_removed_silently() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        "items.jsonl",
        "\u{feff}{\"item_id\": 1, \"title\": 1984}\n{\"item_id\": 2, \"title\": [\"x\"]}\n{\"item_id\": 3}\n",
    );
    let line = "embed --items items.jsonl --out vectors --title hashed --json";
    let done = slate(folder, line).done().json();
    assert_eq!((&done["items"], &done["rejects"]), (&2.into(), &1.into()));
    assert_eq!(done["title"]["with"], 1);
    write(
        folder,
        "wide.csv",
        "item_id,title\n1,blue shoe, size 42\n2,red shoe\n",
    );
    let wide = slate(
        folder,
        "embed --items wide.csv --out wide --title hashed --json",
    )
    .done()
    .json();
    assert_eq!(wide["reasons"]["3 cells, expected 2"], 1);
    write(folder, "none.jsonl", "{\"item_id\": 1, \"titel\": \"a\"}\n");
    slate(folder, "embed --items none.jsonl --out none --title hashed")
        .refused(&["there is no column `title`, found item_id, titel"]);

    // A table that is lost is written again.
    fs::remove_file(folder.join("vectors/items/title.npy")).unwrap();
    assert_eq!(slate(folder, line).done().json()["unchanged"], false);
    assert!(folder.join("vectors/items/title.npy").is_file());
    // Vectors of titles are not lost to a run for pictures.
    slate(
        folder,
        "embed --items items.jsonl --out vectors --image hashed",
    )
    .refused(&["has vectors of `title`, and no encoder of it is named"]);
    // Items that cannot be read cost no vectors, and neither does a folder that is not slate's.
    let part = folder.join("vectors/title/vectors-000000.npy");
    let bert = encoder("tiny_bert");
    let forced = format!(
        "embed --items gone.csv --out vectors --force --title {}",
        bert.display()
    );
    slate(folder, &forced).refused(&["gone.csv"]);
    assert!(part.is_file());
    fs::create_dir_all(folder.join("mine/items")).unwrap();
    write(folder, "mine/items/manifest.json", "{}");
    write(folder, "mine/items/a.csv", "item_id,title\n1,a\n");
    for items in ["mine/items", "items.jsonl"] {
        slate(
            folder,
            &format!("embed --items {items} --out mine --title hashed --force"),
        )
        .refused(&["mine/items"]);
    }
    assert!(folder.join("mine/items/a.csv").is_file());

    // Whose vectors they are is not guessed.
    fs::remove_file(folder.join("vectors/title/store.json")).unwrap();
    slate(folder, line).refused(&["store.json", "it is missing, so nobody knows", "--force"]);
    assert_eq!(
        slate(folder, &format!("{line} --force")).done().json()["computed"]["title"],
        1
    );
    let title = folder.join("vectors/items/title.npy");
    fs::copy(folder.join("vectors/items/item_id.npy"), &title).unwrap();
    slate(folder, "similar query 1 --vectors vectors")
        .refused(&["title.npy` holds <i8 [2], expected <f4 [2, 256]"]);
    slate(folder, line).done();
    let most = format!(
        "similar query 1 --vectors vectors --k {} --json",
        usize::MAX
    );
    assert_eq!(
        slate(folder, &most).done().json()["nearest"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
}

#[test]
fn a_picture_is_read_again_only_if_its_file_changed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bytes = fs::read(encoder("pictures").join("rgb.jpg")).unwrap();
    let picture = folder.join("a.jpg");
    let write_at = |bytes: &[u8], seconds_ago: u64| {
        fs::write(&picture, bytes).unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - seconds_ago);
        let file = File::options().write(true).open(&picture).unwrap();
        file.set_modified(then).unwrap();
    };
    write_at(&bytes, 0);
    write(folder, "items.csv", "item_id,image\n1,a.jpg\n");
    let line = "embed --items items.csv --out vectors --image hashed --json";
    assert_eq!(slate(folder, line).done().json()["computed"]["image"], 1);
    // Other bytes in a file that looks the same: nobody looks into it.
    write_at(&vec![7; bytes.len()], 0);
    let again = slate(folder, line).done().json();
    assert_eq!(
        (&again["unchanged"], &again["rejects"]),
        (&true.into(), &0.into())
    );
    write_at(&vec![7; bytes.len()], 60);
    let read = slate(folder, line).done().json();
    assert_eq!(
        (&read["image"]["with"], &read["rejects"]),
        (&0.into(), &1.into())
    );
}
