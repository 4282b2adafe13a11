//! Where the newest image is read and waited for. No lock on the read path, no runtime needed to wait.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use arc_swap::{ArcSwap, Guard};

use crate::Image;

/// Holds the newest image. One writer publishes, anyone reads.
#[derive(Debug)]
pub struct ImageCell {
    image: ArcSwap<Image>,
    version: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Default for ImageCell {
    fn default() -> Self {
        Self::new(Arc::new(Image::new()))
    }
}

impl ImageCell {
    /// A cell that holds `image`.
    #[must_use]
    pub fn new(image: Arc<Image>) -> Self {
        Self { image: ArcSwap::new(image), version: AtomicU64::new(1), waiting: Mutex::new(Vec::new()) }
    }

    /// The newest image, owned: to be kept across waits.
    #[must_use]
    pub fn get(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// The newest image, borrowed: cheaper than [`get`](Self::get), for short reads.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Image>> {
        self.image.load()
    }

    /// Makes `image` the newest and wakes whoever waits.
    pub fn publish(&self, image: Arc<Image>) {
        self.image.store(image);
        self.version.fetch_add(1, Ordering::Release);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    /// A subscriber that has seen what is there now.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> ImageWatch {
        ImageWatch { seen: self.version.load(Ordering::Acquire), cell: Arc::clone(self) }
    }

    fn register(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

/// One subscriber of an [`ImageCell`]. A clone has seen what the original has.
#[derive(Clone, Debug)]
pub struct ImageWatch {
    cell: Arc<ImageCell>,
    seen: u64,
}

impl ImageWatch {
    /// The cell that is watched.
    #[must_use]
    pub fn cell(&self) -> &Arc<ImageCell> {
        &self.cell
    }

    /// The newest image, owned. Does not count as seen.
    #[must_use]
    pub fn get(&self) -> Arc<Image> {
        self.cell.get()
    }

    /// Waits until there is an image this subscriber has not seen, and returns it. Several publications between two
    /// calls are one change: the newest is returned. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Arc<Image> {
        poll_fn(|cx| {
            let newest = self.cell.version.load(Ordering::Acquire);
            if newest == self.seen {
                self.cell.register(cx.waker());
            }
            // Asked again after registering: a publication in between has woken nobody.
            let newest = self.cell.version.load(Ordering::Acquire);
            if newest == self.seen {
                return Poll::Pending;
            }
            self.seen = newest;
            Poll::Ready(self.cell.get())
        })
        .await
    }

    /// Waits until `enough` says yes to the newest image, and returns that one. Starts with the one that is there.
    pub async fn until(&mut self, mut enough: impl FnMut(&Image) -> bool) -> Arc<Image> {
        loop {
            // Marked as seen before it is looked at, so that nothing published later is missed.
            self.seen = self.cell.version.load(Ordering::Acquire);
            let image = self.cell.get();
            if enough(&image) {
                return image;
            }
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;

    #[test]
    fn a_watch_sees_each_newest_image_once() {
        let cell = Arc::new(ImageCell::default());
        let mut watch = cell.watch();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(watch.changed()).poll(&mut cx).is_pending());
        let newer = Arc::new(Image { next_producer_id: 1000, ..Image::new() });
        cell.publish(Arc::clone(&newer));
        cell.publish(newer);
        let Poll::Ready(image) = pin!(watch.changed()).poll(&mut cx) else { panic!("published") };
        assert_eq!(image.next_producer_id, 1000);
        assert!(pin!(watch.changed()).poll(&mut cx).is_pending());
        assert!(pin!(watch.until(|image| image.next_producer_id == 1000)).poll(&mut cx).is_ready());
        assert!(pin!(watch.until(|image| image.next_producer_id == 1)).poll(&mut cx).is_pending());
    }
}
