//! The cluster as this process sees it: its scheduler, the executors it knows, and jobs.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use ballista::extension::SessionContextExt as _;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
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
        let refuse = |reason: String| LogError::Cluster {
            address: address.to_owned(),
            reason,
        };
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
        let executors = cluster.ask().map_err(|reason| cluster.gone(reason))?;
        if executors.is_some_and(|executors| executors.is_empty()) {
            return Err(refuse("it has no executors".to_owned()));
        }
        Ok(cluster)
    }

    fn gone(&self, reason: String) -> LogError {
        LogError::Cluster {
            address: self.address.clone(),
            reason,
        }
    }

    /// The executors by their ids; none where the scheduler does not tell.
    pub(super) fn executors(&self) -> Result<Option<BTreeSet<String>>, LogError> {
        let mut reason = String::new();
        for _ in 0..PATIENCE {
            match self.ask() {
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

    fn ask(&self) -> Result<Option<BTreeSet<String>>, String> {
        let answer = self.engine.runtime().block_on(async {
            let answer = self.store.get(&Path::from("api/executors")).await?;
            answer.bytes().await
        });
        match answer {
            Ok(bytes) => serde_json::from_slice::<Vec<Executor>>(&bytes)
                .map(|executors| Some(executors.into_iter().map(|e| e.id).collect()))
                .map_err(|_| "what answers there is no Ballista scheduler".to_owned()),
            // A scheduler can be built or started without its REST interface.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(root_cause(&error)),
        }
    }

    /// Runs a query and shows each batch to `each`; after `limit` it is cancelled.
    pub(super) fn run(
        &self,
        sql: &str,
        limit: Duration,
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
            match tokio::time::timeout(limit, work).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(failure)) => {
                    self.cancel(&plan).await;
                    Err(failure)
                }
                Err(_) => {
                    self.cancel(&plan).await;
                    Err(Failure::Cluster(format!(
                        "nothing more came within {} s",
                        limit.as_secs()
                    )))
                }
            }
        })
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
