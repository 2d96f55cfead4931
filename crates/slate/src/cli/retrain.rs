//! What may be typed for the monthly retrain and the registry.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  slate retrain --config configs/monthly_retrain.toml --month 2026-05\n  \
    slate retrain -c my.toml --month 2026-05 --dry-run\n  \
    slate retrain -c my.toml --month 2026-05 --from calibrate\n  \
    slate retrain status -c my.toml\n\n\
    Stages: logs, embed, features, champion features, data, train, score, champion score, calibrate,\n\
    judge (and one for each segment), backtest, latency, gate, promote, report. Killed anywhere, the same\n\
    command goes on and ends with the same bytes. Exit codes: 0 promoted, or nothing to do; 1 the model in\n\
    use was kept; 2 bad data (also where nothing changed since), or wrong use."
)]
pub(crate) struct RetrainArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RetrainCommand>,
    /// The month whose logs are new, as in 2026-05 [default: the last one that is over]
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) month: Option<String>,
    /// Make this stage anew, and all that depends on it
    #[arg(long, value_name = "STAGE")]
    pub(crate) from: Option<String>,
    /// End after this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetrainCommand {
    /// Say what each month came to, and what is in use
    Status,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate backfill -c configs/monthly_retrain.toml --from 2026-01 --to 2026-12\n\n\
    One month after the other, each held to what was in use when it began. Months that are done are left\n\
    as they are. A month that is kept or failed does not end the others. Exit codes: 0 every month was\n\
    promoted or was done before, 1 a month was kept, 2 a month failed."
)]
pub(crate) struct BackfillArgs {
    /// The first month
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) from: String,
    /// The last month [default: the last one that is over]
    #[arg(long, value_name = "YYYY-MM")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// How progress is told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LogArgs {
    /// What is written to stderr: text, or a JSON object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate registry list\n  slate registry show 2026-05\n  \
    slate registry rollback\n  slate registry diff 2026-04 2026-05\n  slate registry gc --keep 12\n\n\
    `registry/MODEL/current` links to the version in use: `slate score --run registry/page-ranker/current`."
)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    pub(crate) command: RegistryCommand,
    /// Folder of the registry [default: `retrain.registry` of the configuration, or registry]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) registry: Option<PathBuf>,
    /// Name of the model [default: `retrain.model` of the configuration, or the only one there is]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) model: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// List versions, and which was in use when
    List,
    /// Show a version: what it was made of, its files, what it came to
    Show {
        /// The version, or a beginning of its id [default: the one in use]
        version: Option<String>,
    },
    /// Bring a version into use
    Promote {
        /// The version, or a beginning of its id
        version: String,
        /// Why, for those who come after
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Bring the version back into use that was before; a second time the one before that
    Rollback {
        /// Why, for those who come after
        #[arg(long, value_name = "TEXT", default_value = "rolled back by hand")]
        reason: String,
    },
    /// Say what differs between two versions
    Diff {
        /// The first version, or a beginning of its id
        a: String,
        /// The second
        b: String,
    },
    /// Remove versions that were not in use lately, and what months made on the way
    Gc {
        /// Versions to keep, of those that were in use last
        #[arg(long, value_name = "N", default_value_t = 12)]
        keep: usize,
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Hold every file of versions, promotions, months and stages to its hash; exit code 1 where something is wrong
    Verify,
}
