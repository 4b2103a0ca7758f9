//! Many workers over the stretches of a pass, what they make of them in the order of the stretches.
//!
//! Workers take stretches as they can; the caller consumes pieces as if one worker had made them all.
//! What is made but not consumed is bounded twice: by the number of stretches that workers are ahead,
//! and by bytes, except for the stretch that is consumed, whose worker never waits: so there is always
//! one who can go on. The first error in the order of the stretches ends the pass, as does one of the
//! consumer; then every worker ends with the stretch it has.

use super::chunks::{Chunk, Chunks, Place};
use super::pipeline::SegmentError;
use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Stretches a worker may be ahead of the one that is consumed.
const AHEAD_PER_WORKER: u64 = 4;
/// Consumed pieces that are kept for a worker, for the sake of their memory.
const SPARE_PER_WORKER: usize = 4;

/// What is done with stretches.
pub(crate) trait Work: Send {
    /// What is made of them.
    type Piece: Send;

    /// Makes pieces of a stretch, in order.
    fn chunk(&mut self, chunk: &Chunk, out: &mut Out<'_, Self::Piece>) -> Result<(), SegmentError>;
}

/// Where a worker puts the pieces of its stretch.
pub(crate) struct Out<'a, P> {
    shared: &'a Shared<P>,
    number: u64,
}

impl<P> Out<'_, P> {
    /// Hands over the next piece, which takes so many bytes of memory; waits where there is no room.
    ///
    /// # Errors
    /// [`SegmentError::Stopped`] when nobody wants it any more.
    pub(crate) fn put(&mut self, piece: P, bytes: usize) -> Result<(), SegmentError> {
        let shared = self.shared;
        let has_room = |state: &State<P>| {
            state.ended
                || state.current == self.number
                || state.queued_bytes + bytes <= shared.queue_bytes
        };
        let mut state = shared.wait(&shared.room, shared.lock(), has_room);
        if state.ended {
            return Err(SegmentError::Stopped);
        }
        state.queued_bytes += bytes;
        let made = state.made.entry(self.number).or_default();
        made.pieces.push_back((piece, bytes));
        if state.current == self.number {
            shared.ready.notify_one();
        }
        Ok(())
    }

    /// A piece that was consumed, for the sake of its memory.
    pub(crate) fn spare(&mut self) -> Option<P> {
        self.shared.lock().spare.pop()
    }
}

struct Shared<P> {
    state: Mutex<State<P>>,
    /// For the consumer: something was made, or a worker ended.
    ready: Condvar,
    /// For workers: something was consumed, or nothing will be any more.
    room: Condvar,
    queue_bytes: usize,
}

struct State<P> {
    /// The stretch that is consumed.
    current: u64,
    /// How many stretches workers have asked for.
    taken: u64,
    made: BTreeMap<u64, Made<P>>,
    queued_bytes: usize,
    spare: Vec<P>,
    working: usize,
    /// Nobody consumes any more.
    ended: bool,
}

/// What there is of a stretch.
struct Made<P> {
    pieces: VecDeque<(P, usize)>,
    /// Set when its worker is through with it.
    end: Option<(Place, Result<(), SegmentError>)>,
}

impl<P> Default for Made<P> {
    fn default() -> Self {
        Made {
            pieces: VecDeque::new(),
            end: None,
        }
    }
}

impl<P> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(
        &self,
        bell: &Condvar,
        guard: MutexGuard<'g, State<P>>,
        until: impl Fn(&State<P>) -> bool,
    ) -> MutexGuard<'g, State<P>> {
        bell.wait_while(guard, |state| !until(state))
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the pass when the consumer is gone, whether by success, error or panic.
struct End<'a, P>(&'a Shared<P>);

impl<P> Drop for End<'_, P> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.room.notify_all();
    }
}

/// Tells the consumer that a worker is gone. If it panicked the pass is over: nobody makes its stretch.
struct Leave<'a, P>(&'a Shared<P>);

impl<P> Drop for Leave<'_, P> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.working -= 1;
        state.ended |= std::thread::panicking();
        drop(state);
        self.0.ready.notify_one();
        self.0.room.notify_all();
    }
}

/// Has each of `workers` work on stretches on a thread of its own; `consume` gets their pieces in the
/// order of the stretches, and after the last piece of a stretch where that was. At most about
/// `queue_bytes` wait to be consumed. Gives the workers back.
///
/// # Errors
/// The first in the order of the stretches, of a stretch, its worker or the consumer.
pub(crate) fn run<W: Work>(
    chunks: &Chunks<'_>,
    workers: Vec<W>,
    queue_bytes: usize,
    mut consume: impl FnMut(Event<'_, W::Piece>) -> Result<(), SegmentError>,
) -> Result<Vec<W>, SegmentError> {
    let shared = Shared {
        state: Mutex::new(State {
            current: 0,
            taken: 0,
            made: BTreeMap::new(),
            queued_bytes: 0,
            spare: Vec::new(),
            working: workers.len(),
            ended: false,
        }),
        ready: Condvar::new(),
        room: Condvar::new(),
        queue_bytes,
    };
    let ahead = AHEAD_PER_WORKER * workers.len() as u64;
    std::thread::scope(|scope| {
        let shared = &shared;
        let mut threads = Vec::with_capacity(workers.len());
        let end = End(shared);
        for worker in workers {
            let body = move || work(worker, chunks, shared, ahead);
            let thread = std::thread::Builder::new().name("segment-lines".into());
            match thread.spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(source) => return Err(SegmentError::Threads { source }),
            }
        }
        let consumed = consume_all(shared, &mut consume);
        drop(end);
        let workers = threads.into_iter().map(|thread| thread.join());
        let workers = workers.map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic)));
        let workers = workers.collect();
        consumed.map(|()| workers)
    })
}

/// What the consumer sees.
pub(crate) enum Event<'a, P> {
    /// A piece of a stretch; what is left in it may be made a new piece of.
    Piece(&'a mut P),
    /// There are no more pieces of the stretch.
    End(Place),
}

fn work<W: Work>(mut worker: W, chunks: &Chunks<'_>, shared: &Shared<W::Piece>, ahead: u64) -> W {
    let _leave = Leave(shared);
    let mut buffer = Vec::new();
    loop {
        let may_take = |state: &State<_>| state.ended || state.taken < state.current + ahead;
        let mut state = shared.wait(&shared.room, shared.lock(), may_take);
        if state.ended {
            return worker;
        }
        state.taken += 1;
        drop(state);
        let Some((place, chunk)) = chunks.next(std::mem::take(&mut buffer)) else {
            return worker;
        };
        let number = place.number;
        let done = chunk.and_then(|chunk| {
            let done = worker.chunk(&chunk, &mut Out { shared, number });
            buffer = chunk.into_buffer();
            done
        });
        let mut state = shared.lock();
        state.made.entry(number).or_default().end = Some((place, done));
        if state.current == number {
            shared.ready.notify_one();
        }
    }
}

fn consume_all<P>(
    shared: &Shared<P>,
    consume: &mut impl FnMut(Event<'_, P>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    loop {
        let mut state = shared.wait(&shared.ready, shared.lock(), |state| {
            let made = state.made.get(&state.current);
            let ready = made.is_some_and(|made| made.end.is_some() || !made.pieces.is_empty());
            ready || state.working == 0 || state.ended
        });
        let current = state.current;
        // There is nothing and will not be: it was the last stretch, or a worker panicked, which joining
        // it tells.
        let Some(made) = state.made.get_mut(&current) else {
            return Ok(());
        };
        if let Some((mut piece, bytes)) = made.pieces.pop_front() {
            state.queued_bytes -= bytes;
            drop(state);
            shared.room.notify_all();
            consume(Event::Piece(&mut piece))?;
            let mut state = shared.lock();
            if state.spare.len() < SPARE_PER_WORKER * state.working {
                state.spare.push(piece);
            }
            continue;
        }
        // Without an end only after a panic.
        let Some((place, done)) = made.end.take() else {
            return Ok(());
        };
        state.made.remove(&current);
        state.current += 1;
        drop(state);
        shared.room.notify_all();
        done?;
        consume(Event::End(place))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::{MemorySource, Source};
    use std::sync::atomic::{AtomicIsize, Ordering};

    /// Repeats lines; knows lines that break it.
    struct Echo<'a> {
        most_queued: &'a AtomicIsize,
        queued: &'a AtomicIsize,
    }

    impl Work for Echo<'_> {
        type Piece = String;

        fn chunk(&mut self, chunk: &Chunk, out: &mut Out<'_, String>) -> Result<(), SegmentError> {
            for line in chunk.lines() {
                let text = String::from_utf8_lossy(line.bytes).into_owned();
                match text.as_str() {
                    "error" => return Err(SegmentError::Input("told to".into())),
                    "panic" => panic!("told to"),
                    _ => {}
                }
                let bytes = text.len();
                out.put(text, bytes)?;
                // The consumer may have had it already: the count can be below zero for a moment.
                let bytes = bytes as isize;
                let queued = self.queued.fetch_add(bytes, Ordering::SeqCst) + bytes;
                self.most_queued.fetch_max(queued, Ordering::SeqCst);
            }
            Ok(())
        }
    }

    /// What the consumer saw, how the run ended, and most bytes that were queued.
    fn run_over(
        text: &str,
        threads: usize,
        queue_bytes: usize,
        stop_at: Option<&str>,
    ) -> (Vec<String>, Result<usize, String>, isize) {
        let source = MemorySource::new("a", text.as_bytes().to_vec());
        let sources: [&dyn Source; 1] = [&source];
        let chunks = Chunks::new(&sources, 37);
        let (queued, most_queued) = (AtomicIsize::new(0), AtomicIsize::new(0));
        let workers = (0..threads).map(|_| Echo {
            most_queued: &most_queued,
            queued: &queued,
        });
        let mut seen = Vec::new();
        let ended = run(&chunks, workers.collect(), queue_bytes, |event| {
            if let Event::Piece(piece) = event {
                queued.fetch_sub(piece.len() as isize, Ordering::SeqCst);
                seen.push(piece.clone());
                if Some(piece.as_str()) == stop_at {
                    return Err(SegmentError::Stopped);
                }
            }
            Ok(())
        });
        let ended = ended.map(|workers| workers.len());
        let ended = ended.map_err(|error| error.to_string());
        (seen, ended, most_queued.into_inner())
    }

    fn numbers(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number}")).collect()
    }

    #[test]
    fn pieces_come_in_order_and_few_wait() {
        let lines = numbers(3000);
        for threads in [1, 2, 8] {
            for queue_bytes in [0, 10, 1 << 20] {
                let (seen, ended, most) = run_over(&lines.join("\n"), threads, queue_bytes, None);
                assert!(seen == lines, "{threads} {queue_bytes}");
                assert_eq!(ended, Ok(threads));
                // Stretches of 37 bytes, some ahead of the one that is consumed.
                assert!(
                    most <= 37 * (AHEAD_PER_WORKER as isize * threads as isize + 1),
                    "{most}"
                );
            }
        }
    }

    #[test]
    fn the_first_error_in_the_order_of_lines_ends_the_run() {
        let mut lines = numbers(2000);
        lines[1200] = "error".into();
        lines[1700] = "panics are for later".into();
        for threads in [1, 3] {
            let (seen, ended, _) = run_over(&lines.join("\n"), threads, 50, None);
            assert_eq!(ended, Err("told to".into()));
            assert_eq!(seen, lines[..1200]);
        }
    }

    #[test]
    fn a_consumer_that_stops_ends_all_workers() {
        let lines = numbers(5000);
        for threads in [1, 3] {
            let (seen, ended, _) = run_over(&lines.join("\n"), threads, 20, Some("77"));
            assert_eq!(ended, Err(SegmentError::Stopped.to_string()));
            assert_eq!(seen, lines[..78]);
        }
    }

    #[test]
    #[should_panic(expected = "told to")]
    fn a_panic_of_a_worker_is_one_of_the_run() {
        let mut lines = numbers(2000);
        lines[900] = "panic".into();
        let _ = run_over(&lines.join("\n"), 3, 20, None);
    }
}
