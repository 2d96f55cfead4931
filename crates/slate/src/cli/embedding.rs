//! What may be typed behind `slate embed` and `slate similar`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate embed --items logs --out vectors --encoder hashed\n  \
    slate embed --items items.parquet --out vectors --title weights/minilm --image weights/resnet50\n  \
    slate embed -c my.toml --items items.jsonl --pictures photos --out vectors --gc\n  \
    python -c \"import numpy; print(numpy.load('vectors/items/title.npy').shape)\"\n\n\
    Vectors are kept by content in OUT/title and OUT/image: run it again with tomorrow's items, and what\n\
    is known is not computed again, nor is what a kill interrupted. OUT/items has a row for each item,\n\
    zeros where it has no title or picture, or one that cannot be read; rejects.csv there says why it\n\
    cannot. --force begins the vectors of another encoder anew."
)]
pub(crate) struct EmbedArgs {
    /// Items: a file (*.parquet, *.jsonl, *.csv), a folder of such files, or a folder of logs
    #[arg(long, value_name = "PATH")]
    pub(crate) items: PathBuf,
    /// Folder of the vectors; one that exists is added to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Encoder of titles and pictures that needs no weights: `hashed`
    #[arg(long, value_name = "NAME")]
    pub(crate) encoder: Option<String>,
    /// Encoder of titles: a folder with BERT, DistilBERT or RoBERTa, or `hashed`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) title: Option<String>,
    /// Encoder of pictures: a folder with a residual network, or `hashed`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) image: Option<String>,
    /// Folder that paths of pictures start from [default: where the items are]
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
    /// Remove vectors of contents that no item has any more
    #[arg(long)]
    pub(crate) gc: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimilarArgs {
    #[command(subcommand)]
    pub(crate) command: SimilarCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimilarCommand {
    /// List the items nearest to one
    Query(QueryArgs),
    /// Vectors of all items by the towers of a trained network
    Export(ExportArgs),
    /// Link near items of an export, for queries that need not look at all of them
    Index(IndexArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate similar index --vectors exported\n  \
    slate similar query 42 --vectors exported --beam 100\n\n\
    Writes graph.hnsw into the folder: a graph after Malkov and Yashunin (HNSW), which `slate similar query`\n\
    asks with --beam. One thread links item after item, so the same vectors give the same file. Looking at all\n\
    items is exact and quick up to some millions; a graph is for more, or for many queries at once.")]
pub(crate) struct IndexArgs {
    /// Folder that `slate similar export` wrote
    #[arg(long, value_name = "DIR")]
    pub(crate) vectors: PathBuf,
    /// Links of an item on a layer of the graph, twice as many on the lowest
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=128))]
    pub(crate) links: u16,
    /// Items that are kept in sight while one is linked: more find more, and take longer
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) beam: u16,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate similar export -c my.toml --run run --items logs --out vectors\n  \
    slate similar export -c my.toml --run run --items logs --scores test.parquet --out vectors\n  \
    slate similar query 42 --vectors vectors --k 20\n  \
    python -c \"import numpy; print(numpy.load('vectors/candidate.npy').shape)\"\n\n\
    OUT has a row for each item in item_id.npy, seed.npy and candidate.npy. Vectors are of length 1, and\n\
    the product of a seed's with a candidate's is the cosine that the network reads. Where towers know\n\
    visitors and the run has [train.in_batch], taste.npy has the items as they please: manifest.json says\n\
    how the mean of what a visitor chose is added to the cosine. The configuration's\n\
    [[features.embedding]] say where vectors of titles and pictures are: run `slate embed` first, and new\n\
    items are among them. `slate report OUT` shows some items with those nearest to them, and with --scores\n\
    the pages on which what was bought stood lowest (with `seed_item_id` in the file, from\n\
    `slate score --beside`, also what they are about)."
)]
pub(crate) struct ExportArgs {
    /// Run of a network of kind `similar`
    #[arg(long, value_name = "DIR")]
    pub(crate) run: PathBuf,
    /// Items: a file (*.parquet, *.jsonl, *.csv), a folder of such files, or a folder of logs
    #[arg(long, value_name = "PATH")]
    pub(crate) items: PathBuf,
    /// Scores of the run on a split: the pages it did worst on are told
    #[arg(long, value_name = "FILE")]
    pub(crate) scores: Option<PathBuf>,
    /// Folder of the vectors
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Moment that times are counted to: a date or an RFC 3339 time [default: end of the training window]
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// Where to compute: auto, cpu, gpu:N, …
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate similar query 42 --vectors vectors\n  \
    slate similar query 42 --vectors exported --k 5\n  \
    slate similar query 42 --vectors vectors --by image --k 5 --json\n  \
    slate similar query 42 --vectors exported --chosen 17,120\n  \
    slate similar query 42 --vectors exported --beam 100\n\n\
    All items are looked at, or with --beam those that a graph of near items leads to (`slate similar index`),\n\
    which may miss some."
)]
pub(crate) struct QueryArgs {
    /// The item, by its id
    #[arg(value_name = "ITEM", allow_negative_numbers = true)]
    pub(crate) item: i64,
    /// Folder that `slate embed` or `slate similar export` wrote
    #[arg(long, value_name = "DIR")]
    pub(crate) vectors: PathBuf,
    /// Items to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) k: usize,
    /// Vectors to compare; both: the mean of their cosines
    #[arg(long, value_enum, default_value_t = LikenessBy::Both)]
    pub(crate) by: LikenessBy,
    /// Items that who asks chose before, which say what they like: 17,42
    #[arg(
        long,
        value_name = "ITEMS",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub(crate) chosen: Vec<i64>,
    /// Ask the graph of near items and keep so many in sight, at least K; left out, all items are looked at
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "chosen")]
    pub(crate) beam: Option<u32>,
}

/// Vectors to compare, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LikenessBy {
    Title,
    Image,
    Both,
}
