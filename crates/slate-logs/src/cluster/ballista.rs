//! The cluster as this process sees it: its scheduler, the executors it knows, and jobs.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use ballista::extension::SessionContextExt as _;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{CancelJobParams, GetJobStatusParams};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion_proto::protobuf::LogicalPlanNode;
use object_store::http::{HttpBuilder, HttpStore};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt as _, RetryConfig};
use serde::Deserialize;
use url::Url;

use super::Failure;
use crate::LogError;
use crate::engine::Engine;

/// How long a scheduler may be silent before it counts as gone, and how often it is asked meanwhile.
const PATIENCE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// A scheduler that answers.
pub(super) struct Cluster<'a> {
    engine: &'a Engine,
    /// As it was typed.
    address: String,
    /// `http://host:port`
    endpoint: String,
    context: SessionContext,
    store: HttpStore,
}

/// An executor as the scheduler lists it.
#[derive(Deserialize)]
struct Executor {
    id: String,
}

impl<'a> Cluster<'a> {
    pub(super) fn connect(engine: &'a Engine, address: &str) -> Result<Self, LogError> {
        let refuse = |reason: String| unusable(address, reason);
        let url = Url::parse(address).map_err(|error| refuse(error.to_string()))?;
        let host = url.host_str().filter(|_| url.scheme() == "ballista");
        let host = host.ok_or_else(|| refuse("expected ballista://host:port".to_owned()))?;
        let place = format!("{host}:{}", url.port().unwrap_or(50050));
        let endpoint = format!("http://{place}");
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(10));
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let store = HttpBuilder::new()
            .with_url(&endpoint)
            .with_client_options(options)
            .with_retry(retry)
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        let state = engine.context().state();
        let config = state.config().clone().upgrade_for_ballista();
        // The adaptive planner does not claim to outlive an executor.
        let config = config
            .with_ballista_adaptive_query_planner(false)
            // It shares our catalog, and a new one would take its place.
            .with_create_default_catalog_and_schema(false);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .build();
        let context = engine
            .runtime()
            .block_on(SessionContext::remote_with_state(
                &format!("df://{place}"),
                state,
            ))
            .map_err(|error| refuse(error.to_string()))?;
        let cluster = Self {
            engine,
            address: address.to_owned(),
            endpoint,
            context,
            store,
        };
        let executors = engine.runtime().block_on(cluster.ask());
        match executors.map_err(refuse)? {
            Some(executors) if executors.is_empty() => {
                return Err(refuse("it has no executors".to_owned()));
            }
            Some(_) => {}
            // Or it is no scheduler at all.
            None => engine.runtime().block_on(cluster.greet()).map_err(refuse)?,
        }
        Ok(cluster)
    }

    fn gone(&self, reason: String) -> LogError {
        unusable(&self.address, reason)
    }

    /// The executors by their ids; none where the scheduler does not tell.
    pub(super) fn executors(&self) -> Result<Option<BTreeSet<String>>, LogError> {
        let mut reason = String::new();
        for _ in 0..PATIENCE {
            match self.engine.runtime().block_on(self.ask()) {
                Ok(executors) => return Ok(executors),
                Err(why) => reason = why,
            }
            std::thread::sleep(PAUSE);
        }
        Err(self.gone(reason))
    }

    /// Waits for the scheduler to answer and to have executors.
    pub(super) fn wait_until_well(&self) -> Result<(), LogError> {
        for _ in 0..PATIENCE {
            std::thread::sleep(PAUSE);
            if self
                .executors()?
                .is_none_or(|executors| !executors.is_empty())
            {
                return Ok(());
            }
        }
        Err(self.gone("its last executor left".to_owned()))
    }

    async fn ask(&self) -> Result<Option<BTreeSet<String>>, String> {
        let answer = async {
            let answer = self.store.get(&Path::from("api/executors")).await?;
            answer.bytes().await
        };
        match answer.await {
            Ok(bytes) => serde_json::from_slice::<Vec<Executor>>(&bytes)
                .map(|executors| Some(executors.into_iter().map(|e| e.id).collect()))
                .map_err(|_| NO_SCHEDULER.to_owned()),
            // A scheduler can be built or started without its REST interface.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(root_cause(&error)),
        }
    }

    /// Asks after a job that nobody began: any scheduler has an answer to that.
    async fn greet(&self) -> Result<(), String> {
        let greeting = async {
            let mut scheduler = SchedulerGrpcClient::connect(self.endpoint.clone())
                .await
                .map_err(|error| root_cause(&error))?;
            let job_id = "none".to_owned();
            match scheduler
                .get_job_status(GetJobStatusParams { job_id })
                .await
            {
                Ok(_) => Ok(()),
                // Invalid argument or not found: an answer to the question.
                Err(status) if [3, 5].contains(&(status.code() as i32)) => Ok(()),
                Err(_) => Err(NO_SCHEDULER.to_owned()),
            }
        };
        tokio::time::timeout(Duration::from_secs(10), greeting)
            .await
            .unwrap_or_else(|_| Err(NO_SCHEDULER.to_owned()))
    }

    /// Runs a query and shows each batch to `each`, until `watch` sees a reason to end it.
    pub(super) fn run(
        &self,
        sql: &str,
        watch: Watch<'_>,
        mut each: impl FnMut(&RecordBatch) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.engine.runtime().block_on(async {
            let plan = async { self.context.sql(sql).await?.create_physical_plan().await };
            let plan = plan.await.map_err(|source| {
                Failure::Ours(LogError::Engine {
                    stage: "plan the queries",
                    source: Box::new(source),
                })
            })?;
            let work = async {
                let lost = |error: datafusion::error::DataFusionError| {
                    Failure::Cluster(first_line(&error.to_string()))
                };
                let mut stream =
                    execute_stream(plan.clone(), self.context.task_ctx()).map_err(lost)?;
                while let Some(batch) = poll_fn(|context| stream.as_mut().poll_next(context)).await
                {
                    each(&batch.map_err(lost)?)?;
                }
                Ok(())
            };
            let ended = tokio::select! {
                ended = work => ended,
                reason = self.reason_to_end(watch) => Err(Failure::Cluster(reason)),
            };
            if ended.is_err() {
                self.cancel(&plan).await;
            }
            ended
        })
    }

    /// Looks around until there is no use in waiting any longer, and says why.
    async fn reason_to_end(&self, watch: Watch<'_>) -> String {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(PAUSE).await;
            if watch.stopped.load(Ordering::Relaxed) {
                return "the job was given up".to_owned();
            }
            if begun.elapsed() >= watch.limit {
                return format!("it was not done after {} s", watch.limit.as_secs());
            }
            // A scheduler that does not answer may do so the next time.
            if let Ok(now) = self.ask().await
                && let Err(reason) = all_stayed(watch.executors, now.as_ref())
            {
                return reason;
            }
        }
    }

    /// Tells the scheduler that nobody waits any more. It may be what is gone, so an error says nothing.
    async fn cancel(&self, plan: &Arc<dyn ExecutionPlan>) {
        let query = plan.downcast_ref::<DistributedQueryExec<LogicalPlanNode>>();
        let Some(job_id) = query.and_then(DistributedQueryExec::job_id) else {
            return;
        };
        let cancelled = async {
            let mut scheduler = SchedulerGrpcClient::connect(self.endpoint.clone())
                .await
                .ok()?;
            let job_id = job_id.to_string();
            scheduler.cancel_job(CancelJobParams { job_id }).await.ok()
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), cancelled).await;
    }
}

/// When to stop waiting for a shard.
pub(super) struct Watch<'a> {
    /// Longest that it may take.
    pub(super) limit: Duration,
    /// Executors when it began.
    pub(super) executors: Option<&'a BTreeSet<String>>,
    /// Another shard failed for good.
    pub(super) stopped: &'a AtomicBool,
}

/// Whether the executors that were there still are; yes where the scheduler does not tell.
pub(super) fn all_stayed(
    before: Option<&BTreeSet<String>>,
    after: Option<&BTreeSet<String>>,
) -> Result<(), String> {
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    match before.difference(after).next() {
        Some(left) => Err(format!("executor {left} left meanwhile")),
        None => Ok(()),
    }
}

fn unusable(address: &str, reason: String) -> LogError {
    LogError::Cluster {
        address: address.to_owned(),
        reason,
    }
}

const NO_SCHEDULER: &str = "what answers there is no Ballista scheduler";

/// What went wrong at the bottom: the layers above only repeat the address.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The cluster's errors carry plans and traces.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(300).collect()
}
