//! The parts of one upload, sent side by side.
//!
//! Checksums and disk take as long as making the bytes, so parts are stored by threads of their own
//! while the next ones are filled. At most [`PARTS_AT_ONCE`] are on their way and none waits; whoever
//! has the next one waits for a thread. The first error ends the upload.

use bytes::Bytes;
use kindred_store::{Error, Location, PartTag, Store};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Parts that are sent at the same time.
const PARTS_AT_ONCE: usize = 2;

/// Parts on their way.
#[derive(Debug)]
pub(crate) struct Uploads {
    sender: Option<SyncSender<(u32, Bytes)>>,
    threads: Vec<JoinHandle<()>>,
    sent: Arc<Mutex<Sent>>,
    next: u32,
}

/// What became of parts.
#[derive(Debug, Default)]
struct Sent {
    parts: Vec<PartTag>,
    /// A part failed, so there will be no object.
    failed: bool,
    /// Why, until somebody was told.
    error: Option<Error>,
}

impl Sent {
    fn check(&mut self) -> Result<(), Error> {
        if !self.failed {
            return Ok(());
        }
        let told = || Error::Unavailable("a part of the upload has failed".into());
        Err(self.error.take().unwrap_or_else(told))
    }
}

impl Uploads {
    /// For the parts of `upload`, from number 1 on.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        location: &Location,
        upload: &str,
    ) -> Result<Uploads, Error> {
        let (sender, receiver) = sync_channel(0);
        let receiver = Arc::new(Mutex::new(receiver));
        let sent = Arc::new(Mutex::new(Sent::default()));
        let mut threads = Vec::with_capacity(PARTS_AT_ONCE);
        for _ in 0..PARTS_AT_ONCE {
            let sending = Sending {
                store: store.clone(),
                location: location.clone(),
                upload: upload.to_owned(),
                receiver: receiver.clone(),
                sent: sent.clone(),
            };
            let thread = std::thread::Builder::new().name("upload-part".into());
            let thread = thread.spawn(move || sending.run());
            threads.push(thread.map_err(|error| Error::Unavailable(error.to_string()))?);
        }
        Ok(Uploads {
            sender: Some(sender),
            threads,
            sent,
            next: 1,
        })
    }

    /// How many parts there are so far.
    pub(crate) fn parts(&self) -> u32 {
        self.next - 1
    }

    /// Sends the next part; waits as long as all threads have one.
    ///
    /// # Errors
    /// That of an earlier part.
    pub(crate) fn send(&mut self, body: Bytes) -> Result<(), Error> {
        lock(&self.sent).check()?;
        let number = self.next;
        self.next += 1;
        let sender = self.sender.as_ref();
        let taken = sender.is_some_and(|sender| sender.send((number, body)).is_ok());
        if taken {
            return Ok(());
        }
        // No thread is left, which only a panic makes: joining them passes it on.
        self.join();
        Err(Error::Unavailable("an upload has ended".into()))
    }

    /// Waits for all parts and gives their tags in order.
    ///
    /// # Errors
    /// The first of a part.
    pub(crate) fn finish(&mut self) -> Result<Vec<PartTag>, Error> {
        self.join();
        let mut sent = lock(&self.sent);
        sent.check()?;
        let mut parts = std::mem::take(&mut sent.parts);
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    fn join(&mut self) {
        self.sender = None;
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join()
                && !std::thread::panicking()
            {
                resume_unwind(panic);
            }
        }
    }
}

impl Drop for Uploads {
    /// No part arrives after this.
    fn drop(&mut self) {
        self.join();
    }
}

/// What a thread works with.
struct Sending {
    store: Arc<dyn Store>,
    location: Location,
    upload: String,
    receiver: Arc<Mutex<Receiver<(u32, Bytes)>>>,
    sent: Arc<Mutex<Sent>>,
}

impl Sending {
    fn run(&self) {
        while let Some((number, body)) = self.next() {
            // After an error parts are only taken off whoever sends them.
            if lock(&self.sent).failed {
                continue;
            }
            let part = self
                .store
                .upload_part(&self.location, &self.upload, number, body);
            let mut sent = lock(&self.sent);
            match part {
                Ok(part) => sent.parts.push(part),
                Err(error) => {
                    sent.failed = true;
                    sent.error.get_or_insert(error);
                }
            }
        }
    }

    fn next(&self) -> Option<(u32, Bytes)> {
        lock(&self.receiver).recv().ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
