//! What lets this broker's replicas follow others and be followed: connections to leaders, and the controller to ask for
//! in-sync sets and to tell of log dirs.

use std::{pin::Pin, sync::Arc, time::Duration};

use ottla_config::BrokerConfig;
use ottla_controller::{Answer, Command};
use ottla_protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
};
use ottla_replica::{ControllerLink, FetchOptions, PeerLinks, ReplicaManager, ReplicationParts};
use ottla_router::Controllers;
use ottla_types::ErrorCode;

/// Asks the active controller, wherever it is.
struct Link(Arc<Controllers>);

impl ControllerLink for Link {
    fn alter_partition(
        &self,
        request: AlterPartitionRequest,
    ) -> Pin<Box<dyn Future<Output = Result<AlterPartitionResponse, ErrorCode>> + Send + '_>> {
        Box::pin(async move {
            match self.0.ask(Command::AlterPartition(request)).await? {
                Answer::AlterPartition(answer) => Ok(answer),
                _ => unreachable!("an answer is of its command's kind"),
            }
        })
    }

    fn assign_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
    ) -> Pin<Box<dyn Future<Output = Result<AssignReplicasToDirsResponse, ErrorCode>> + Send + '_>> {
        Box::pin(async move {
            match self.0.ask(Command::AssignReplicasToDirs(request)).await? {
                Answer::AssignReplicasToDirs(answer) => Ok(answer),
                _ => unreachable!("an answer is of its command's kind"),
            }
        })
    }
}

/// Begins to follow leaders. Nothing is fetched before the broker is registered.
pub(crate) fn start(config: &BrokerConfig, replicas: &Arc<ReplicaManager>, controllers: &Arc<Controllers>) {
    let fetch = &config.replica_fetch;
    let listener = config.listeners.inter_broker.as_deref().unwrap_or("PLAINTEXT");
    let options = FetchOptions {
        fetchers: fetch.fetchers.max(1).unsigned_abs(),
        max_bytes: fetch.max_bytes,
        min_bytes: fetch.min_bytes,
        wait_max_ms: fetch.wait_max_ms,
        response_max_bytes: fetch.response_max_bytes,
        backoff_ms: fetch.backoff_ms.into(),
        ..FetchOptions::new(listener)
    };
    let timeout = Duration::from_millis(fetch.socket_timeout_ms.max(1).unsigned_abs().into());
    let client_id = format!("broker-{}-fetcher", config.node_id);
    replicas.start_replication(ReplicationParts {
        options,
        links: Arc::new(PeerLinks::new(&client_id, timeout)),
        controller: Arc::new(Link(controllers.clone())),
        runtime: tokio::runtime::Handle::current(),
    });
}
