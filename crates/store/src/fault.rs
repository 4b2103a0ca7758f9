//! A store that fails when told to, for tests of whoever uses stores.
//!
//! The plan says which call of which kind fails and how. Every fault that fires is counted, so that
//! a test can insist that it did.

use crate::{Error, ListPage, Location, ObjectMeta, PartTag, Store};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The kinds of calls, one for each method of [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Store::head`].
    Head,
    /// [`Store::read`].
    Read,
    /// [`Store::list`].
    List,
    /// [`Store::put`] and [`Store::put_with_key`].
    Put,
    /// [`Store::delete`].
    Delete,
    /// [`Store::start_upload`] and [`Store::start_upload_with_key`].
    StartUpload,
    /// [`Store::upload_part`].
    UploadPart,
    /// [`Store::complete_upload`].
    CompleteUpload,
    /// [`Store::abort_upload`].
    AbortUpload,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused as if the store were away; nothing happened.
    Unavailable,
    /// It is done, but the answer is lost.
    AnswerLost,
    /// It is refused for want of rights.
    Denied,
    /// A read gives only the first half of its bytes; any other call is refused as unavailable.
    Truncated,
    /// It takes so much longer.
    Slow(Duration),
}

/// One entry of a plan: the `nth` call (from 1) of a kind meets `fault`.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// Which kind of call.
    pub call: Call,
    /// Which one of them, counted from 1.
    pub nth: u64,
    /// What happens to it.
    pub fault: Fault,
}

/// A store with faults by plan.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    plan: Vec<Planned>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: HashMap<Call, u64>,
    fired: u64,
}

impl FaultStore {
    /// Wraps a store. With an empty plan it behaves like the store it wraps.
    pub fn new(inner: Arc<dyn Store>, plan: Vec<Planned>) -> Self {
        FaultStore {
            inner,
            plan,
            counts: Mutex::default(),
        }
    }

    /// How many faults have fired.
    pub fn fired(&self) -> u64 {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fired
    }

    /// How many calls of a kind there were.
    pub fn calls(&self, call: Call) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.calls.get(&call).copied().unwrap_or(0)
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.calls.entry(call).or_default();
        *count += 1;
        let nth = *count;
        let planned = self
            .plan
            .iter()
            .find(|planned| planned.call == call && planned.nth == nth)?;
        counts.fired += 1;
        Some(planned.fault)
    }

    fn run<T>(
        &self,
        call: Call,
        location: &Location,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        meet(self.fault(call), call, location, work)
    }
}

fn meet<T>(
    fault: Option<Fault>,
    call: Call,
    location: &Location,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let away = || Error::Unavailable(format!("planned fault on {call:?}"));
    match fault {
        None => work(),
        Some(Fault::Unavailable | Fault::Truncated) => Err(away()),
        Some(Fault::AnswerLost) => work().and_then(|_| Err(away())),
        Some(Fault::Denied) => Err(Error::Denied {
            operation: action(call),
            location: location.clone(),
        }),
        Some(Fault::Slow(extra)) => {
            std::thread::sleep(extra);
            work()
        }
    }
}

fn action(call: Call) -> &'static str {
    match call {
        Call::Head | Call::Read => "s3:GetObject",
        Call::List => "s3:ListBucket",
        Call::Put | Call::StartUpload | Call::UploadPart | Call::CompleteUpload => "s3:PutObject",
        Call::Delete => "s3:DeleteObject",
        Call::AbortUpload => "s3:AbortMultipartUpload",
    }
}

impl Store for FaultStore {
    fn head(&self, location: &Location) -> Result<ObjectMeta, Error> {
        self.run(Call::Head, location, || self.inner.head(location))
    }

    fn encryption_key(&self, location: &Location) -> Result<Option<String>, Error> {
        self.inner.encryption_key(location)
    }

    fn read(
        &self,
        location: &Location,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Bytes, Error> {
        let fault = self.fault(Call::Read);
        let read = || self.inner.read(location, range, etag);
        match fault {
            Some(Fault::Truncated) => read().map(|whole| whole.slice(..whole.len() / 2)),
            other => meet(other, Call::Read, location, read),
        }
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<ListPage, Error> {
        let location = Location::new(bucket, prefix);
        self.run(Call::List, &location, || {
            self.inner.list(bucket, prefix, after, max)
        })
    }

    fn put(&self, location: &Location, body: Bytes) -> Result<ObjectMeta, Error> {
        self.run(Call::Put, location, || self.inner.put(location, body))
    }

    fn put_with_key(
        &self,
        location: &Location,
        body: Bytes,
        key: &str,
    ) -> Result<ObjectMeta, Error> {
        self.run(Call::Put, location, || {
            self.inner.put_with_key(location, body, key)
        })
    }

    fn delete(&self, location: &Location) -> Result<(), Error> {
        self.run(Call::Delete, location, || self.inner.delete(location))
    }

    fn start_upload(&self, location: &Location) -> Result<String, Error> {
        self.run(Call::StartUpload, location, || {
            self.inner.start_upload(location)
        })
    }

    fn start_upload_with_key(&self, location: &Location, key: &str) -> Result<String, Error> {
        self.run(Call::StartUpload, location, || {
            self.inner.start_upload_with_key(location, key)
        })
    }

    fn upload_part(
        &self,
        location: &Location,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, Error> {
        self.run(Call::UploadPart, location, || {
            self.inner.upload_part(location, upload, number, body)
        })
    }

    fn complete_upload(
        &self,
        location: &Location,
        upload: &str,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, Error> {
        self.run(Call::CompleteUpload, location, || {
            self.inner.complete_upload(location, upload, parts)
        })
    }

    fn abort_upload(&self, location: &Location, upload: &str) -> Result<(), Error> {
        self.run(Call::AbortUpload, location, || {
            self.inner.abort_upload(location, upload)
        })
    }
}
