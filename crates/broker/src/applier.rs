//! Puts a new metadata image into effect on this broker, in one order: replicas, coordinators, then everyone else.
//!
//! Whoever sees a topic in the published image finds its replicas ready.

use std::sync::Arc;

use ottla_coordinator::Coordinators;
use ottla_metadata::{Image, ImageCell};
use ottla_replica::ReplicaManager;
use parking_lot::Mutex;

/// Applies images, newest last.
pub(crate) struct Applier {
    replicas: Arc<ReplicaManager>,
    coordinators: Arc<Coordinators>,
    cell: Arc<ImageCell>,
    gate: Mutex<Gate>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    newest: Option<Arc<Image>>,
}

impl Applier {
    pub(crate) fn new(
        replicas: Arc<ReplicaManager>,
        coordinators: Arc<Coordinators>,
        cell: Arc<ImageCell>,
    ) -> Arc<Self> {
        Arc::new(Self { replicas, coordinators, cell, gate: Mutex::default() })
    }

    /// A newer image; applied now, or when the gate opens.
    pub(crate) fn publish(&self, image: Arc<Image>) {
        let mut gate = self.gate.lock();
        if gate.open {
            self.apply(&image);
        }
        gate.newest = Some(image);
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
        self.replicas.apply_image(image);
        self.coordinators.apply_image(image);
        self.cell.publish(image.clone());
    }
}
