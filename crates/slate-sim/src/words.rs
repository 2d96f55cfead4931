//! Names: categories, brands and titles, put together from short lists of words.
//!
//! A title says something true about its item: the first word follows the first dimension of the
//! style, the second word the second, the third the third; so a text encoder has a signal to find.

use crate::catalogue::Style;

/// Leaf categories under each parent.
pub(crate) const LEAVES: usize = 4;

const PARENTS: [(&str, [&str; LEAVES]); 12] = [
    ("Home", ["Lamps", "Chairs", "Rugs", "Clocks"]),
    ("Fashion", ["Jackets", "Boots", "Scarves", "Handbags"]),
    (
        "Electronics",
        ["Headphones", "Cameras", "Keyboards", "Speakers"],
    ),
    ("Garden", ["Planters", "Benches", "Lanterns", "Fountains"]),
    ("Sports", ["Bicycles", "Rackets", "Tents", "Skates"]),
    ("Toys", ["Puzzles", "Trains", "Dolls", "Kites"]),
    ("Jewellery", ["Rings", "Bracelets", "Earrings", "Brooches"]),
    ("Music", ["Guitars", "Drums", "Violins", "Records"]),
    ("Kitchen", ["Kettles", "Pans", "Teapots", "Mixers"]),
    ("Art", ["Prints", "Frames", "Sculptures", "Posters"]),
    ("Tools", ["Drills", "Saws", "Wrenches", "Workbenches"]),
    ("Books", ["Novels", "Atlases", "Cookbooks", "Comics"]),
];

/// Words for low, middling and high values of the first three dimensions of a style.
const ADJECTIVES: [[&str; 3]; 3] = [
    ["Dark", "Classic", "Bright"],
    ["Small", "Medium", "Large"],
    ["Vintage", "Everyday", "Modern"],
];

const BRANDS: [&str; 16] = [
    "Alder",
    "Brightwater",
    "Corvo",
    "Dunmore",
    "Elmet",
    "Fenwick",
    "Garrick",
    "Holt",
    "Ivory",
    "Juno",
    "Kestrel",
    "Lumen",
    "Marlow",
    "Norde",
    "Orchard",
    "Pellam",
];

const MATERIALS: [&str; 8] = [
    "Oak", "Steel", "Cotton", "Glass", "Leather", "Ceramic", "Walnut", "Linen",
];

/// Path of leaf category `leaf`, as in `Home > Lamps`. Past the list, names get a number.
pub(crate) fn category_path(leaf: usize) -> String {
    let parent = leaf / LEAVES;
    let (name, leaves) = &PARENTS[parent % PARENTS.len()];
    match parent / PARENTS.len() {
        0 => format!("{name} > {}", leaves[leaf % LEAVES]),
        round => format!("{name} {} > {}", round + 1, leaves[leaf % LEAVES]),
    }
}

/// Title of an item; `brand` and `material` are any numbers.
pub(crate) fn title(leaf: usize, style: &Style, brand: u32, material: u32) -> String {
    let noun = PARENTS[leaf / LEAVES % PARENTS.len()].1[leaf % LEAVES];
    let adjective = |dimension: usize| {
        let value = style[dimension];
        ADJECTIVES[dimension][usize::from(value > -0.5) + usize::from(value > 0.5)]
    };
    format!(
        "{} {} {} {} {} {}",
        BRANDS[brand as usize % BRANDS.len()],
        adjective(0),
        adjective(1),
        adjective(2),
        MATERIALS[material as usize % MATERIALS.len()],
        singular(noun),
    )
}

/// Takes the plural off the nouns of the list above.
fn singular(noun: &str) -> String {
    if let Some(stem) = noun.strip_suffix("ves") {
        return format!("{stem}f");
    }
    for ending in ["ches", "ses"] {
        if noun.ends_with(ending) {
            return noun[..noun.len() - 2].to_owned();
        }
    }
    noun.strip_suffix('s').unwrap_or(noun).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_has_its_own_path() {
        let mut paths: Vec<String> = (0..200).map(category_path).collect();
        assert_eq!(paths[0], "Home > Lamps");
        assert_eq!(paths[48], "Home 2 > Lamps");
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 200);
    }

    #[test]
    fn titles_tell_the_style() {
        let style = [2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(
            title(6, &style, 1, 2),
            "Brightwater Bright Small Everyday Cotton Scarf"
        );
        assert_eq!(
            title(13, &style, 0, 0),
            "Alder Bright Small Everyday Oak Bench"
        );
        assert_eq!(
            title(45, &style, 0, 0),
            "Alder Bright Small Everyday Oak Atlas"
        );
    }
}
