//! How leaders are reached.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use ottla_net::{
    BufferPool,
    peer::{Peer, PeerError, PeerOptions},
};
use ottla_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use ottla_types::NodeId;

/// Why a leader did not answer, for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LinkError(pub String);

/// A connection to a broker, made when it is first needed.
pub trait LeaderLink: Send + Sync + 'static {
    /// Fetch, version 17 or 18; the records of the answer are slices of its frame.
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>>;

    /// ListOffsets, version 4 to 11.
    fn list_offsets(
        &self,
        request: ListOffsetsRequest,
    ) -> BoxFuture<'_, Result<ListOffsetsResponse, LinkError>>;

    /// Gives up what is under way; what comes next connects anew.
    fn close(&self);
}

/// Makes connections to brokers.
pub trait LeaderLinks: Send + Sync + 'static {
    /// A connection of its own to the broker at this address; nothing is connected yet.
    fn link(&self, broker: NodeId, host: &str, port: u16) -> Arc<dyn LeaderLink>;
}

/// Links over [`Peer`].
#[derive(Debug)]
pub struct PeerLinks {
    options: PeerOptions,
    pool: Arc<BufferPool>,
}

/// Buffers of large answers that all links together keep for reuse.
const KEPT_BUFFERS: usize = 32 << 20;

impl PeerLinks {
    /// `client_id` is what this broker calls itself; `socket_timeout` is `replica.socket.timeout.ms`, which must be more
    /// than `replica.fetch.wait.max.ms`.
    #[must_use]
    pub fn new(client_id: &str, socket_timeout: Duration) -> Self {
        let options = PeerOptions {
            client_id: client_id.into(),
            request_timeout: socket_timeout,
            ..PeerOptions::default()
        };
        Self { options, pool: BufferPool::new(KEPT_BUFFERS) }
    }
}

impl LeaderLinks for PeerLinks {
    fn link(&self, _: NodeId, host: &str, port: u16) -> Arc<dyn LeaderLink> {
        Arc::new(PeerLink(Peer::with_pool(host, port, self.options.clone(), Arc::clone(&self.pool))))
    }
}

struct PeerLink(Peer);

fn told(error: PeerError) -> LinkError {
    LinkError(error.to_string())
}

impl LeaderLink for PeerLink {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, LinkError>> {
        Box::pin(async move {
            let (_, response) = self.0.ask(17..=18, |_| request).await.map_err(told)?;
            Ok(response)
        })
    }

    fn list_offsets(
        &self,
        request: ListOffsetsRequest,
    ) -> BoxFuture<'_, Result<ListOffsetsResponse, LinkError>> {
        Box::pin(async move {
            let (_, response) = self.0.ask(4..=10, |_| request).await.map_err(told)?;
            Ok(response)
        })
    }

    fn close(&self) {
        self.0.close();
    }
}
