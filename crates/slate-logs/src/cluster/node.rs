//! Nodes of a Ballista cluster on loopback, for tests and trials. They are Ballista's own, but notice
//! within seconds that one of them is gone. A real cluster runs Ballista's programs.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;

const HOST: &str = "127.0.0.1";
/// Seconds after which a silent executor is given up.
const SILENCE: u64 = 6;

/// Runs a scheduler on a port until it is killed.
///
/// # Errors
/// A port that is taken.
pub fn run_scheduler(port: u16) -> Result<(), Box<dyn Error>> {
    let mut config = SchedulerConfig::default()
        .with_hostname(HOST)
        .with_port(port)
        .with_scheduler_policy(TaskSchedulingPolicy::PullStaged);
    HOST.clone_into(&mut config.bind_host);
    config.executor_timeout_seconds = SILENCE;
    config.expire_dead_executor_interval_seconds = 1;
    threads()?.block_on(async {
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let address = format!("{HOST}:{port}").parse()?;
        start_server(cluster, address, Arc::new(config)).await?;
        Ok(())
    })
}

/// Runs an executor of one core on a port and the one after it until it is killed; `work` receives
/// what it computes.
///
/// # Errors
/// No scheduler on its port, and ports that are taken.
pub fn run_executor(scheduler: u16, port: u16, work: &Path) -> Result<(), Box<dyn Error>> {
    let config = ExecutorProcessConfig {
        bind_host: HOST.to_owned(),
        external_host: Some(HOST.to_owned()),
        port,
        grpc_port: port + 1,
        scheduler_host: HOST.to_owned(),
        scheduler_port: scheduler,
        scheduler_connect_timeout_seconds: 30,
        vcores: 1,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(work.to_string_lossy().into_owned()),
        executor_heartbeat_interval_seconds: 1,
        job_data_ttl_seconds: 600,
        job_data_clean_up_interval_seconds: 60,
        ..ExecutorProcessConfig::default()
    };
    threads()?.block_on(start_executor_process(Arc::new(config)))?;
    Ok(())
}

fn threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}
