//! The embedded query engine: DataFusion with the settings that were measured to be right.
//!
//! Join sides stay where the SQL writes them (the small one left, where it becomes the hash table)
//! because the optimiser's own choice hashes the impressions, at several times the memory.
//! Intermediate tables go to Parquet files in a work folder, which is removed in the end.

use std::fmt::Write;
use std::fs::{self, File};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{
    ExecutionPlan, SendableRecordBatchStream, displayable, execute_stream,
};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::LogError;

/// A session with a work folder.
pub(crate) struct Engine {
    runtime: tokio::runtime::Runtime,
    context: SessionContext,
    /// The same tables, read by one thread in the order in which they are stored.
    as_stored: SessionContext,
    work: PathBuf,
    threads: usize,
    /// What sorts and aggregates may hold; none where there is no limit.
    pool: Option<u64>,
}

impl Engine {
    /// Starts threads and makes the work folder, which must not exist.
    /// `threads` 0 means one for each core; `pool` is what sorts and aggregates may hold.
    pub(crate) fn start(
        threads: usize,
        pool: Option<u64>,
        work: PathBuf,
    ) -> Result<Self, LogError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        let io = |action, source| LogError::Io {
            action,
            path: work.clone(),
            source,
        };
        fs::create_dir(&work).map_err(|source| io("create", source))?;
        let started = || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(threads)
                .enable_all()
                .build()
                .map_err(|source| io("start threads for", source))?;
            let mut config = SessionConfig::new()
                .with_target_partitions(threads)
                .set_bool("datafusion.optimizer.join_reordering", false)
                // One hash table for all threads: the many rows need not be dealt out anew.
                .set_bool("datafusion.optimizer.repartition_joins", false)
                .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
                .set_bool(
                    "datafusion.execution.parquet.schema_force_view_types",
                    false,
                );
            let mut environment = RuntimeEnvBuilder::new().with_disk_manager_builder(
                DiskManagerBuilder::default()
                    .with_mode(DiskManagerMode::Directories(vec![work.clone()])),
            );
            if let Some(bytes) = pool {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                // Each sort keeps this back for its merge; several sorts run on each thread, and
                // the default of 10 MiB each would fill a small pool with reserves alone.
                let reserve = (bytes / (threads * 64)).clamp(64 << 10, 10 << 20);
                config = config.with_sort_spill_reservation_bytes(reserve);
                environment = environment.with_memory_pool(Arc::new(FairSpillPool::new(bytes)));
            }
            let environment = environment
                .build_arc()
                .map_err(engine_error("start the engine"))?;
            let context = SessionContext::new_with_config_rt(config, environment);
            let state = context.state();
            let config = state.config().clone().with_target_partitions(1);
            let state = SessionStateBuilder::new_from_existing(state)
                .with_config(config)
                .build();
            Ok((runtime, context, SessionContext::new_with_state(state)))
        };
        match started() {
            Ok((runtime, context, as_stored)) => Ok(Self {
                runtime,
                context,
                as_stored,
                work,
                threads,
                pool,
            }),
            Err(error) => {
                // Nothing half-made stays behind; the first error is the one to tell.
                let _ = fs::remove_dir_all(&work);
                Err(error)
            }
        }
    }

    /// The work folder.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// The session, with every table and view by its name.
    #[cfg(feature = "cluster")]
    pub(crate) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The threads of the session.
    #[cfg(feature = "cluster")]
    pub(crate) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// How many threads queries run on.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Most bytes that may be held outside the engine while it sorts nothing: half of its pool.
    pub(crate) fn may_hold(&self) -> Option<u64> {
        self.pool.map(|pool| pool / 2)
    }

    /// Most 64-bit keys that may be held to see whether they repeat: a quarter of the pool, half of it
    /// while they are sorted.
    pub(crate) fn most_keys(&self) -> u64 {
        self.pool.map_or(u64::MAX, |bytes| bytes / 4 / 8)
    }

    /// Makes Parquet files of one schema known as the table `name`.
    pub(crate) fn register(
        &self,
        name: &str,
        files: &[PathBuf],
        schema: &Schema,
    ) -> Result<(), LogError> {
        let mut urls = Vec::new();
        for file in files {
            urls.push(file_url(file)?);
        }
        let fail = engine_error("open the tables of the log");
        self.runtime.block_on(async {
            // Files can carry metadata that differs between parts and means nothing here.
            let schema = schema
                .clone()
                .with_metadata(std::collections::HashMap::new());
            let options = ParquetReadOptions::default().schema(&schema);
            let frame = self
                .context
                .read_parquet(urls, options)
                .await
                .map_err(&fail)?;
            self.context
                .register_table(name, frame.into_view())
                .map_err(&fail)?;
            Ok(())
        })
    }

    /// Names a query.
    pub(crate) fn view(&self, name: &str, sql: &str) -> Result<(), LogError> {
        let fail = engine_error("plan the queries");
        self.runtime.block_on(async {
            let frame = self.context.sql(sql).await.map_err(&fail)?;
            self.context
                .register_table(name, frame.into_view())
                .map_err(&fail)?;
            Ok(())
        })
    }

    /// Runs a query into a file of the work folder and names it. Returns its rows.
    pub(crate) fn materialise(
        &self,
        stage: &'static str,
        name: &str,
        sql: &str,
        told: &dyn Fn(u64),
    ) -> Result<u64, LogError> {
        let mut stream = self.stream(stage, sql)?;
        stream.wait(told);
        let mut sink = self.sink(name, stream.schema())?;
        while let Some(batch) = stream.next()? {
            sink.write(&batch)?;
        }
        sink.finish(self)
    }

    /// Begins a file of the work folder that becomes the table `name`.
    pub(crate) fn sink(&self, name: &str, schema: SchemaRef) -> Result<Sink, LogError> {
        let path = self.work.join(format!("{name}.parquet"));
        let file = File::create(&path).map_err(|source| LogError::Io {
            action: "create",
            path: path.clone(),
            source,
        })?;
        // Read once or twice and thrown away: not worth a dictionary or statistics.
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|source| {
                LogError::Write {
                    path: path.clone(),
                    source,
                }
            })?;
        Ok(Sink {
            name: name.to_owned(),
            path,
            schema,
            writer,
            rows: 0,
        })
    }

    /// Runs a query whose result is small.
    pub(crate) fn collect(
        &self,
        stage: &'static str,
        sql: &str,
    ) -> Result<Vec<RecordBatch>, LogError> {
        self.collect_telling(stage, sql, &|_| {})
    }

    /// The same, telling how many rows were read meanwhile, as [`Batches::wait`] does.
    pub(crate) fn collect_telling(
        &self,
        stage: &'static str,
        sql: &str,
        told: &dyn Fn(u64),
    ) -> Result<Vec<RecordBatch>, LogError> {
        let mut stream = self.stream(stage, sql)?;
        stream.wait(told);
        let mut batches = Vec::new();
        while let Some(batch) = stream.next()? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The plan of a query, as the engine would run it.
    pub(crate) fn explain(&self, sql: &str) -> Result<String, LogError> {
        let plan = self
            .runtime
            .block_on(async { self.context.sql(sql).await?.create_physical_plan().await })
            .map_err(engine_error("plan the queries"))?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// Runs a query batch by batch.
    pub(crate) fn stream(&self, stage: &'static str, sql: &str) -> Result<Batches<'_>, LogError> {
        self.stream_in(&self.context, stage, sql)
    }

    /// The same on one thread, so that rows come in the order of the files, if the query asks for no
    /// other. That is nothing to rely on, but worth a look before a sort.
    pub(crate) fn stream_as_stored(
        &self,
        stage: &'static str,
        sql: &str,
    ) -> Result<Batches<'_>, LogError> {
        self.stream_in(&self.as_stored, stage, sql)
    }

    fn stream_in(
        &self,
        context: &SessionContext,
        stage: &'static str,
        sql: &str,
    ) -> Result<Batches<'_>, LogError> {
        let (plan, stream) = self
            .runtime
            .block_on(async {
                let plan = context.sql(sql).await?.create_physical_plan().await?;
                let stream = execute_stream(plan.clone(), context.task_ctx())?;
                Ok((plan, stream))
            })
            .map_err(engine_error(stage))?;
        Ok(Batches {
            runtime: &self.runtime,
            plan,
            stream: Some(stream),
            first: None,
            stage,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What cannot be removed lies inside the caller's staging folder and goes with it.
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// An intermediate table being written.
pub(crate) struct Sink {
    name: String,
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    rows: u64,
}

impl Sink {
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), LogError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|source| LogError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Makes the table known to queries. Returns its rows.
    pub(crate) fn finish(self, engine: &Engine) -> Result<u64, LogError> {
        let path = self.path;
        self.writer.close().map_err(|source| LogError::Write {
            path: path.clone(),
            source,
        })?;
        engine.register(&self.name, &[path], &self.schema)?;
        Ok(self.rows)
    }
}

/// The batches of a running query, in its order.
pub(crate) struct Batches<'a> {
    runtime: &'a tokio::runtime::Runtime,
    plan: Arc<dyn ExecutionPlan>,
    /// None once the query has failed.
    stream: Option<SendableRecordBatchStream>,
    /// What came while somebody waited.
    first: Option<Result<Option<RecordBatch>, DataFusionError>>,
    stage: &'static str,
}

impl Batches<'_> {
    pub(crate) fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// Waits for the first batch; tells about five times a second how many rows were read from files
    /// since it last did. A sort reads all before it gives any.
    pub(crate) fn wait(&mut self, told: &dyn Fn(u64)) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            let first = poll_fn(|context| stream.as_mut().poll_next(context)).await;
            // Nobody is left to hear it only where this process is ending.
            let _ = sender.send((stream, first));
        });
        let mut before = 0;
        loop {
            let heard = receiver.recv_timeout(Duration::from_millis(200));
            let read = rows_read(self.plan.as_ref());
            told(read.saturating_sub(before));
            before = before.max(read);
            match heard {
                Ok((stream, first)) => {
                    self.stream = Some(stream);
                    self.first = Some(first.transpose());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let lost = DataFusionError::Internal("the query was dropped".to_owned());
                    self.first = Some(Err(lost));
                    return;
                }
            }
        }
    }

    /// The next batch, none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        if let Some(first) = self.first.take() {
            return first.map_err(engine_error(self.stage));
        }
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        self.runtime
            .block_on(poll_fn(|context| stream.as_mut().poll_next(context)))
            .transpose()
            .map_err(engine_error(self.stage))
    }
}

/// Rows that the leaves of a running plan have given so far.
fn rows_read(plan: &dyn ExecutionPlan) -> u64 {
    let inputs = plan.children();
    if inputs.is_empty() {
        let rows = plan.metrics().and_then(|metrics| metrics.output_rows());
        return rows.unwrap_or(0) as u64;
    }
    inputs
        .into_iter()
        .map(|input| rows_read(input.as_ref()))
        .sum()
}

fn engine_error(stage: &'static str) -> impl Fn(DataFusionError) -> LogError {
    move |source| LogError::Engine {
        stage,
        source: Box::new(source),
    }
}

/// A `file:` URL, so that no character of a path is taken for a pattern.
fn file_url(path: &Path) -> Result<String, LogError> {
    let whole = fs::canonicalize(path).map_err(|source| LogError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    let mut url = "file://".to_owned();
    for &byte in whole.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    Ok(url)
}

/// Puts values into the `{name}` places of a query.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut sql = template.to_owned();
    for (name, value) in values {
        sql = sql.replace(&format!("{{{name}}}"), value);
    }
    sql
}
