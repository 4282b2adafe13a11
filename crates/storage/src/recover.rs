//! Opens logs: believes what the last checkpoint says as far as it may, and checks the rest.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use crate::{
    checkpoint::{self, Checkpoint},
    dir::Shared,
    epochs,
    fault::Fault,
    leftovers::{self, Listing},
    load::{LoadReport, Loader, PartitionLoader},
    log::Log,
    names, producers,
    rebuild::Rebuild,
    start::Start,
    state::{Snapshots, State},
    store::Family,
    text,
};

/// A log's directory, as its name tells.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) partition: TopicPartition,
    /// The directory's name when that is not the partition's: see [`names::future`].
    pub(crate) future: Option<String>,
}

impl Place {
    /// Where the partition's log is.
    pub(crate) fn of(partition: &TopicPartition) -> Self {
        Self { partition: partition.clone(), future: None }
    }

    fn path(&self, shared: &Shared) -> PathBuf {
        match &self.future {
            Some(future) => shared.path.join(future),
            None => shared.path.join(self.partition.to_string()),
        }
    }
}

/// Opens all logs on `threads` threads.
pub(crate) fn load_all(
    shared: &Arc<Shared>,
    places: &[Place],
    loader: &dyn Loader,
    threads: usize,
) -> Result<LoadReport, Fault> {
    let threads = match threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        n => n,
    };
    let next = AtomicUsize::new(0);
    let done: Mutex<Result<LoadReport, Fault>> = Mutex::new(Ok(LoadReport::default()));
    let work = || {
        while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = load_found(shared, place, loader);
            let mut done = done.lock();
            match (&mut *done, result) {
                (Ok(report), Ok(one)) => report.add(one),
                (Ok(_), Err(fault)) => *done = Err(fault),
                (Err(_), _) => {}
            }
            if done.is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(places.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner()
}

/// Opens a log that a directory's name tells of. One that cannot be opened is the loader's to judge.
fn load_found(shared: &Arc<Shared>, place: &Place, loader: &dyn Loader) -> Result<LoadReport, Fault> {
    let Place { partition, future } = place;
    let loaded = identity(shared, place).and_then(|id| match id {
        Some(id) => {
            let one = match future {
                Some(_) => loader.begin_future(partition, id),
                None => Some(loader.begin(partition, id)),
            };
            one.map_or(Ok(LoadReport::default()), |one| load_one(shared, place, one, id))
        }
        None => {
            let dir = place.path(shared);
            tracing::warn!(path = %dir.display(), "creation of the log did not end: nothing is in it, and it goes");
            leftovers::clear(&dir)?;
            // Files that are not ours to remove keep it. Nothing takes it for a log.
            let _ = fs::remove_dir(&dir);
            Ok(LoadReport::default())
        }
    });
    loaded.or_else(|fault| {
        if future.is_none() {
            loader.failed(partition, fault)?;
        } else if fault.is_damage() {
            tracing::warn!("A copy of {partition} is damaged and kept as a stray: {fault}");
            let stray = names::aside(partition, shared.unique(TopicId::ZERO), names::Aside::Stray);
            let from = place.path(shared);
            fs::rename(&from, shared.path.join(stray)).map_err(Fault::io("rename", &from))?;
        } else {
            return Err(fault);
        }
        // This run may end cleanly, but that will say nothing about this log: it is to be checked as a whole.
        shared.forget_checkpoint(partition)?;
        Ok(LoadReport::default())
    })
}

/// The id of the topic that a log is of: [`TopicId::ZERO`] when there is a log and its topic is not known, `None` when
/// the directory is all that its creation came to before the process died.
pub(crate) fn identity(shared: &Shared, place: &Place) -> Result<Option<TopicId>, Fault> {
    let (partition, dir) = (&place.partition, place.path(shared));
    let path = dir.join(names::PARTITION_METADATA);
    let text = text::read_optional(&path)?.unwrap_or_default();
    if let Some(id) = text::parse_partition_metadata(&text).filter(|id| *id != TopicId::ZERO) {
        return Ok(Some(id));
    }
    let start = checkpoint::read_log_start(&shared.store, partition, TopicId::ZERO)?;
    let start = start.or_else(|| shared.texts.log_starts.get(partition).copied()).unwrap_or(0);
    if start == 0 && leftovers::list(&dir)?.segments.iter().all(|&segment| segment == (0, 0)) {
        return Ok(None);
    }
    // Zeros are what a power cut may leave of a file that was not synced.
    if text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).is_empty() {
        return Ok(Some(TopicId::ZERO));
    }
    let what = "it has no topic id, and the partition stays offline: stop the broker and remove this file to make the \
                log one of the topic of that name, or move the directory away to begin the partition anew";
    Err(Fault::Damaged { path, what: what.into() })
}

/// Opens one log and hands it to `loader`.
pub(crate) fn load_one(
    shared: &Arc<Shared>,
    place: &Place,
    mut loader: Box<dyn PartitionLoader>,
    topic_id: TopicId,
) -> Result<LoadReport, Fault> {
    let config = loader.config();
    let (partition, dir) = (&place.partition, place.path(shared));
    let listing = leftovers::list(&dir)?;
    let checkpoint = believed(shared, partition, topic_id, &listing)?;
    let mut rebuild = Rebuild::new(shared, (partition, &dir), &config, checkpoint.as_ref());
    rebuild.run(&listing)?;
    let mut report = rebuild.report;
    let changed = report.recovered > 0;
    let (last_of, denied) = (std::mem::take(&mut rebuild.last_of), rebuild.denied);
    let mut state = rebuild.into_state(&listing);
    let denied = checkpoint.as_ref().filter(|known| denied || state.log_end < known.log_end);
    settle_start(shared, (partition, &dir), topic_id, checkpoint.as_ref(), &mut state)?;
    settle_epochs(shared, &dir, checkpoint.as_ref(), &last_of, &mut state)?;
    if checkpoint.is_none() && shared.start.ours() {
        // It tells of files that are not as it knew them; were it left, a kill would bring it back.
        shared.forget_checkpoint(partition)?;
    }
    if checkpoint.is_none() || report.truncated_bytes > 0 {
        names::remove_kafka_leftovers(&dir, state.log_end)?;
    }
    state.snapshots = Snapshots::default();
    let log = Log::new(shared, partition, topic_id, (state, place.future.clone()), config);
    let known = checkpoint.as_ref().map(|known| match denied {
        Some(_) => (known, known.recovery_point),
        None => (known, known.holds_to(&shared.boot)),
    });
    producers::restore(&log.reader(), known, &mut *loader)?;
    if let Some(denied) = denied {
        // Until the next regular one it would be believed again, by a start that finds others where it knew lost batches.
        let _one_at_a_time = shared.checkpointing.lock();
        checkpoint::store_one(&log.reader(), false, log.log_end() < denied.recovery_point)?;
        // Should the store be lost, this file would tell of lost batches. It can wait where it has to.
        let _ = checkpoint::write_epochs(&log.reader());
    }
    if changed || checkpoint.is_none() || denied.is_some() {
        log.reader().mark_dirty();
    }
    if !shared.start.ours()
        && checkpoint::read_log_start(&shared.store, partition, topic_id)?
            .is_some_and(|start| start != log.log_start())
    {
        // Kafka moved it, either way, since we wrote it.
        checkpoint::write_log_start(&log.reader(), log.log_start())?;
    }
    report.logs = 1;
    loader.done(log);
    Ok(report)
}

/// The checkpoint, if it may be believed at all.
fn believed(
    shared: &Shared,
    partition: &TopicPartition,
    topic_id: TopicId,
    listing: &Listing,
) -> Result<Option<Checkpoint>, Fault> {
    if !shared.start.ours() {
        return Ok(None);
    }
    let bytes = shared.store.get(Family::Index, &names::checkpoint_key(partition))?;
    let checkpoint = bytes.and_then(|bytes| Checkpoint::from_bytes(&bytes));
    Ok(checkpoint.filter(|checkpoint| {
        // An index file of Kafka's beside the active segment: Kafka wrote here since.
        let active = checkpoint.segments.last().map_or(0, |segment| segment.base);
        checkpoint.topic_id == topic_id && listing.newest_kafka_index.is_none_or(|base| base < active)
    }))
}

/// Finds the log start, which segments alone do not tell.
fn settle_start(
    shared: &Shared,
    (partition, dir): (&TopicPartition, &Path),
    topic_id: TopicId,
    checkpoint: Option<&Checkpoint>,
    state: &mut State,
) -> Result<(), Fault> {
    let synced = checkpoint::read_log_start(&shared.store, partition, topic_id)?;
    let told =
        if shared.start.ours() { synced.or(checkpoint.map(|checkpoint| checkpoint.log_start)) } else { None };
    let told = told.or_else(|| shared.texts.log_starts.get(partition).copied()).unwrap_or(0);
    let first = state.segments[0].base;
    state.log_start = told.max(first);
    if state.log_start > state.log_end {
        if state.size() > 0 {
            tracing::warn!(
                %partition, log_start = state.log_start, log_end = state.log_end,
                "the log ends before its start: it is begun anew there"
            );
            for segment in &state.segments {
                let path = dir.join(names::segment(segment.base));
                fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
            }
        }
        *state = State::empty(state.log_start, shared.clock.wall().0);
        // It tells where the log begins, also without the store.
        let path = dir.join(names::segment(state.log_start));
        fs::File::create(&path).map_err(Fault::io("create", &path))?;
    }
    Ok(())
}

/// Epochs: from the checkpoint or Kafka's file, and from the batches that were read.
fn settle_epochs(
    shared: &Shared,
    dir: &Path,
    checkpoint: Option<&Checkpoint>,
    last_of: &[(LeaderEpoch, Offset)],
    state: &mut State,
) -> Result<(), Fault> {
    let found = std::mem::take(&mut state.epochs);
    let as_it_was = checkpoint.is_none_or(|known| state.log_end >= known.log_end);
    let clean = shared.start == Start::Clean && as_it_was;
    let known = match checkpoint {
        Some(checkpoint) => checkpoint.epochs.clone(),
        None => {
            let text = text::read_optional(&dir.join(names::EPOCHS))?;
            text.and_then(|text| text::parse_epochs(&text)).unwrap_or_default()
        }
    };
    state.epochs = known.clone();
    if let Some(checkpoint) = checkpoint.filter(|known| known.holds_to(&shared.boot) < known.log_end) {
        // Those behind were found by their batches, and may be others.
        epochs::truncate_from_end(&mut state.epochs, checkpoint.holds_to(&shared.boot));
    }
    epochs::forget_denied(&mut state.epochs, last_of);
    for (epoch, start) in found {
        if state.epochs.last().is_none_or(|&(last, _)| epoch > last) {
            epochs::assign(&mut state.epochs, epoch, start);
        }
    }
    if !clean {
        epochs::truncate_from_end(&mut state.epochs, state.log_end);
    }
    epochs::truncate_from_start(&mut state.epochs, state.log_start);
    // After a kill the file may be behind the checkpoint.
    state.epochs_changed = state.epochs != known || !clean && !known.is_empty();
    Ok(())
}
