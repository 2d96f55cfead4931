//! Placements put in the order of the output: as they are stored, by a sort, or by a cluster.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use slate_types::Progress;

use crate::engine::{Batches, Engine};
use crate::row_files::RowFiles;
use crate::{ClusterOptions, ClusterReport, LogError, plan};

const STAGE: &str = "put placements in order";

/// Batches of one schema.
pub(crate) trait Ordered {
    fn schema(&self) -> SchemaRef;
    /// The next batch, none at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>, LogError>;
}

impl Ordered for Batches<'_> {
    fn schema(&self) -> SchemaRef {
        Batches::schema(self)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        Batches::next(self)
    }
}

/// How placements come into order.
pub(crate) struct Order<'a> {
    pub(crate) engine: &'a Engine,
    /// A cluster and how many shards it is given.
    pub(crate) cluster: Option<(&'a ClusterOptions, u32)>,
    /// Whether `write` may be shown rows and then be told to forget them.
    pub(crate) twice: bool,
    /// Placements that are usable, and rows read for them.
    pub(crate) usable: u64,
    pub(crate) read: u64,
    pub(crate) progress: &'a dyn Progress,
}

impl Order<'_> {
    /// Puts the rows of `sql` in order and gives them to `write`, which returns none as soon as a row
    /// is out of order and is then given all of them anew. It ends the stage it finds begun.
    pub(crate) fn bring(
        &self,
        sql: &str,
        mut write: impl FnMut(&mut dyn Ordered) -> Result<Option<RowFiles>, LogError>,
    ) -> Result<(RowFiles, Option<ClusterReport>), LogError> {
        let begin = |stage: &str, rows: u64| self.progress.begin(stage, Some(rows), "rows");
        if let Some(cluster) = self.cluster {
            let (mut shards, report) =
                by_cluster(self.engine, cluster, sql, self.usable, self.progress)?;
            begin("merge the shards", self.usable);
            let files = write(&mut shards)?.expect("merged shards are in order");
            return Ok((files, Some(report)));
        }
        // Most logs are stored in the order in which pages were shown.
        if self.twice {
            let mut batches = self.engine.stream_as_stored(STAGE, sql)?;
            begin("order placements", self.usable);
            if let Some(files) = write(&mut batches)? {
                return Ok((files, None));
            }
        }
        let sorted = format!("{sql}{}", plan::ORDER);
        let mut batches = self.engine.stream(STAGE, &sorted)?;
        // A sort gives nothing before it has read everything.
        begin("read placements", self.read);
        batches.wait(&|rows| self.progress.advance(rows));
        begin("order placements", self.usable);
        let files = write(&mut batches)?.expect("the engine has sorted them");
        Ok((files, None))
    }
}

#[cfg(feature = "cluster")]
use crate::cluster::in_order as by_cluster;

/// No cluster in this build.
#[cfg(not(feature = "cluster"))]
fn by_cluster(
    _: &Engine,
    (options, _): (&ClusterOptions, u32),
    _: &str,
    _: u64,
    _: &dyn Progress,
) -> Result<(Batches<'static>, ClusterReport), LogError> {
    Err(options.not_built())
}
