//! Puts a new metadata image into effect on this node, in one order: replicas, coordinators, then everyone else.
//!
//! Whoever sees a topic in the published image finds its replicas ready.

use std::sync::Arc;

use ottla_coordinator::Coordinators;
use ottla_metadata::{Image, ImageCell};
use ottla_replica::ReplicaManager;
use ottla_types::Offset;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What follows the image on a broker.
pub(crate) type Followers = (Arc<ReplicaManager>, Arc<Coordinators>);

/// Applies images, newest last.
pub(crate) struct Applier {
    /// `None` on a node that is no broker.
    followers: Option<Followers>,
    cell: Arc<ImageCell>,
    gate: Mutex<Gate>,
    /// How far the newest image is, applied or not.
    seen: watch::Sender<Offset>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    newest: Option<Arc<Image>>,
}

impl Applier {
    pub(crate) fn new(followers: Option<Followers>, cell: Arc<ImageCell>) -> Arc<Self> {
        // Without replicas nothing can be taken for what it is not.
        let gate = Gate { open: followers.is_none(), newest: None };
        Arc::new(Self { followers, cell, gate: Mutex::new(gate), seen: watch::Sender::new(-1) })
    }

    /// A newer image; applied now, or when the gate opens.
    pub(crate) fn publish(&self, image: Arc<Image>) {
        let mut gate = self.gate.lock();
        if gate.open {
            self.apply(&image);
        }
        let offset = image.position.offset;
        gate.newest = Some(image);
        drop(gate);
        self.seen.send_replace(offset);
    }

    /// Returns when the newest image has the record at `offset`.
    pub(crate) async fn reaches(&self, offset: Offset) {
        // It fails only when there is no sender any more, which is here.
        let _ = self.seen.subscribe().wait_for(|seen| *seen >= offset).await;
    }

    /// Everything committed before this start is in the newest image. Before that nothing may be applied: a log whose
    /// topic is not yet in the image would be taken for one whose topic was deleted.
    pub(crate) fn open(&self) {
        let mut gate = self.gate.lock();
        gate.open = true;
        if let Some(image) = gate.newest.clone() {
            self.apply(&image);
        }
    }

    fn apply(&self, image: &Arc<Image>) {
        if let Some((replicas, coordinators)) = &self.followers {
            replicas.apply_image(image);
            coordinators.apply_image(image);
        }
        self.cell.publish(image.clone());
    }
}
