//! The buckets as a job's role sees them.
//!
//! [`Buckets`] holds the store and gives it out only together with a role, so that no step of a job
//! reaches an object without its rights. Each call asks for the action that the same call needs on
//! S3; rights that are taken away while a job runs count from the next call on.

use crate::authority::{Access, Authority, Refused, Resource};
use bytes::Bytes;
use kindred_store::{Error, ListPage, Location, ObjectMeta, PartTag, Store};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

const GET: &str = "s3:GetObject";
const LIST: &str = "s3:ListBucket";
const PUT: &str = "s3:PutObject";
const DELETE: &str = "s3:DeleteObject";

/// Accesses of one job that are remembered so that each is noted once. A job has at most one
/// hundred thousand inputs, each with an output.
const NOTED_MAX: usize = 250_000;

/// The buckets, for whoever has a role.
#[derive(Clone, Debug)]
pub struct Buckets {
    store: Arc<dyn Store>,
    authority: Arc<dyn Authority>,
}

impl Buckets {
    /// The buckets of `store` under the rights that `authority` knows.
    pub fn new(store: Arc<dyn Store>, authority: Arc<dyn Authority>) -> Self {
        Buckets { store, authority }
    }

    /// The buckets as the role of a job sees them.
    pub fn acting_as(&self, role_arn: Option<&str>, job_arn: &str) -> Arc<RoleStore> {
        Arc::new(RoleStore {
            store: self.store.clone(),
            authority: self.authority.clone(),
            role_arn: role_arn.map(str::to_owned),
            job_arn: job_arn.to_owned(),
            noted: Mutex::default(),
        })
    }

    /// Who decides, for accesses that are not to objects.
    pub fn authority(&self) -> &Arc<dyn Authority> {
        &self.authority
    }
}

/// A store that does what the role of one job may do.
#[derive(Debug)]
pub struct RoleStore {
    store: Arc<dyn Store>,
    authority: Arc<dyn Authority>,
    role_arn: Option<String>,
    job_arn: String,
    noted: Mutex<HashSet<(&'static str, Location, bool)>>,
}

impl RoleStore {
    /// Fails with [`Error::Denied`] unless the role may read the object.
    pub fn may_read(&self, location: &Location) -> Result<(), Error> {
        self.ask(GET, Resource::Object(location))
    }

    /// Fails with [`Error::Denied`] unless the role may write the object.
    pub fn may_write(&self, location: &Location) -> Result<(), Error> {
        self.ask(PUT, Resource::Object(location))
    }

    /// Fails with [`Error::Denied`] unless the role may list the bucket below the prefix.
    pub fn may_list(&self, bucket: &str, prefix: &str) -> Result<(), Error> {
        self.ask(LIST, Resource::Listing { bucket, prefix })
    }

    /// Whether the role may do `action`, for example `kms:Decrypt`, with the key of this ARN.
    ///
    /// # Errors
    /// As the authority says; the sentence for the job's owner is the caller's to make.
    pub fn may_use_key(&self, action: &'static str, key_arn: &str) -> Result<(), Refused> {
        self.decide(action, Resource::Key(key_arn))
    }

    fn ask(&self, action: &'static str, resource: Resource<'_>) -> Result<(), Error> {
        self.decide(action, resource)
            .map_err(|refused| match refused {
                Refused::Denied(_) => Error::Denied {
                    operation: action,
                    location: location(resource),
                },
                Refused::Unavailable(text) => Error::Unavailable(text),
            })
    }

    /// Asks, and notes what was not noted yet.
    fn decide(&self, action: &'static str, resource: Resource<'_>) -> Result<(), Refused> {
        let access = Access {
            role_arn: self.role_arn.as_deref(),
            action,
            resource,
            job_arn: &self.job_arn,
        };
        let outcome = self.authority.decide(&access);
        if let Err(Refused::Denied(reason)) = &outcome {
            tracing::info!(arn = %self.job_arn, action, %reason, "access denied");
        }
        let entry = (action, location(resource), outcome.is_ok());
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX && noted.insert(entry) {
            self.authority.note(&access, &outcome);
        }
        outcome
    }
}

/// What is refused or noted, as a location; of a key, its ARN takes the bucket's place.
fn location(resource: Resource<'_>) -> Location {
    match resource {
        Resource::Object(location) => location.clone(),
        Resource::Listing { bucket, prefix } => Location::new(bucket, prefix),
        Resource::Key(arn) => Location::new(arn, ""),
    }
}

impl Store for RoleStore {
    fn head(&self, location: &Location) -> Result<ObjectMeta, Error> {
        self.may_read(location)?;
        self.store.head(location)
    }

    fn read(
        &self,
        location: &Location,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Bytes, Error> {
        self.may_read(location)?;
        self.store.read(location, range, etag)
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<ListPage, Error> {
        self.may_list(bucket, prefix)?;
        self.store.list(bucket, prefix, after, max)
    }

    fn put(&self, location: &Location, body: Bytes) -> Result<ObjectMeta, Error> {
        self.may_write(location)?;
        self.store.put(location, body)
    }

    fn delete(&self, location: &Location) -> Result<(), Error> {
        self.ask(DELETE, Resource::Object(location))?;
        self.store.delete(location)
    }

    fn start_upload(&self, location: &Location) -> Result<String, Error> {
        self.may_write(location)?;
        self.store.start_upload(location)
    }

    fn upload_part(
        &self,
        location: &Location,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, Error> {
        self.may_write(location)?;
        self.store.upload_part(location, upload, number, body)
    }

    fn complete_upload(
        &self,
        location: &Location,
        upload: &str,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, Error> {
        self.may_write(location)?;
        self.store.complete_upload(location, upload, parts)
    }

    /// Asks for nothing: a job only aborts uploads of its own, and one whose rights were taken away
    /// must still clean up.
    fn abort_upload(&self, location: &Location, upload: &str) -> Result<(), Error> {
        self.store.abort_upload(location, upload)
    }
}
