//! Nodes of a Ballista cluster on loopback, for tests and trials. They are Ballista's own, but notice
//! within seconds that one of them is gone. A real cluster runs Ballista's programs.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;

use crate::LogError;

const HOST: &str = "127.0.0.1";
/// Tasks that an executor takes at once. Where the scheduler hands tasks out, those that an executor lost
/// keep their slots on the others: with one slot each, nothing would be scheduled any more.
const SLOTS: usize = 4;
/// Seconds after which a silent executor is given up.
const SILENCE: u64 = 6;

/// Runs a scheduler on a port until it is killed. With `push` it hands tasks out, as Ballista's own
/// does unless told otherwise; else executors ask for them.
///
/// # Errors
/// [`LogError::Node`]: a port that is taken.
pub fn run_scheduler(port: u16, push: bool) -> Result<(), LogError> {
    let mut config = SchedulerConfig::default()
        .with_hostname(HOST)
        .with_port(port)
        .with_scheduler_policy(policy(push));
    HOST.clone_into(&mut config.bind_host);
    config.executor_timeout_seconds = SILENCE;
    config.expire_dead_executor_interval_seconds = 1;
    threads()?.block_on(async {
        let cluster = BallistaCluster::new_from_config(&config)
            .await
            .map_err(failed)?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        start_server(cluster, address, Arc::new(config))
            .await
            .map_err(failed)
    })
}

/// Runs an executor on a port and the one after it until it is killed; `work` receives
/// what it computes, and `push` is the scheduler's.
///
/// # Errors
/// [`LogError::Node`]: no scheduler on its port, and ports that are taken.
pub fn run_executor(scheduler: u16, port: u16, work: &Path, push: bool) -> Result<(), LogError> {
    let config = ExecutorProcessConfig {
        bind_host: HOST.to_owned(),
        external_host: Some(HOST.to_owned()),
        port,
        grpc_port: port + 1,
        scheduler_host: HOST.to_owned(),
        scheduler_port: scheduler,
        scheduler_connect_timeout_seconds: 30,
        vcores: SLOTS,
        task_scheduling_policy: policy(push),
        work_dir: Some(work.to_string_lossy().into_owned()),
        executor_heartbeat_interval_seconds: 1,
        job_data_ttl_seconds: 600,
        job_data_clean_up_interval_seconds: 60,
        ..ExecutorProcessConfig::default()
    };
    threads()?
        .block_on(start_executor_process(Arc::new(config)))
        .map_err(failed)
}

fn policy(push: bool) -> TaskSchedulingPolicy {
    if push {
        TaskSchedulingPolicy::PushStaged
    } else {
        TaskSchedulingPolicy::PullStaged
    }
}

fn threads() -> Result<tokio::runtime::Runtime, LogError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> LogError {
    LogError::Node {
        reason: error.to_string(),
    }
}
