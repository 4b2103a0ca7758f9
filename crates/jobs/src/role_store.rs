//! The buckets as a job's role sees them.
//!
//! [`Buckets`] holds the store and gives it out only together with a role, so that no step of a job
//! reaches an object without its rights. Each call asks for the action that the same call needs on
//! S3; rights that are taken away while a job runs count from the next call on.

use crate::authority::{Access, Authority, Refused, Resource};
use bytes::Bytes;
use kindred_store::keys::{self, KeyProblem};
use kindred_store::{Error, ListPage, Location, ObjectMeta, PartTag, Store};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

const GET: &str = "s3:GetObject";
const LIST: &str = "s3:ListBucket";
const PUT: &str = "s3:PutObject";
const DELETE: &str = "s3:DeleteObject";
const DECRYPT: &str = "kms:Decrypt";
const GENERATE_DATA_KEY: &str = "kms:GenerateDataKey";

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

    /// Fails with [`Error::Key`] unless the role may do `action` with the key.
    pub fn may_use_key(&self, action: &'static str, key: &str) -> Result<(), Error> {
        self.ask(action, Resource::Key(key))
    }

    /// Fails with [`Error::Key`] unless the role may encrypt new objects with the key; one that is
    /// uploaded in parts needs its data key again for each.
    pub fn may_write_with_key(&self, key: &str) -> Result<(), Error> {
        self.may_use_key(GENERATE_DATA_KEY, key)?;
        self.may_use_key(DECRYPT, key)
    }

    /// Fails with [`Error::Key`] unless the role may use the key of an encrypted object.
    pub fn may_decrypt(&self, location: &Location) -> Result<(), Error> {
        match self.store.encryption_key(location)? {
            Some(key) => self.may_use_key(DECRYPT, &key),
            None => Ok(()),
        }
    }

    /// Fails with [`Error::Denied`] unless the role may list the bucket below the prefix.
    pub fn may_list(&self, bucket: &str, prefix: &str) -> Result<(), Error> {
        self.ask(LIST, Resource::Listing { bucket, prefix })
    }

    fn ask(&self, action: &'static str, resource: Resource<'_>) -> Result<(), Error> {
        let access = Access {
            role_arn: self.role_arn.as_deref(),
            action,
            resource,
            job_arn: &self.job_arn,
        };
        let outcome = self.authority.decide(&access);
        let location = match resource {
            Resource::Object(location) => location.clone(),
            Resource::Listing { bucket, prefix } => Location::new(bucket, prefix),
            Resource::Key(arn) => Location::new(arn, ""),
        };
        self.note(&access, &location, &outcome);
        outcome.map_err(|refused| match refused {
            Refused::Denied(reason) => {
                tracing::info!(arn = %self.job_arn, action, %location, %reason, "access denied");
                if let Resource::Key(key) = resource {
                    return keys::refused(action, key, KeyProblem::Denied);
                }
                Error::Denied {
                    operation: action,
                    location,
                }
            }
            Refused::Unavailable(text) => Error::Unavailable(text),
        })
    }

    fn note(&self, access: &Access<'_>, location: &Location, outcome: &Result<(), Refused>) {
        let entry = (access.action, location.clone(), outcome.is_ok());
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX && noted.insert(entry) {
            self.authority.note(access, outcome);
        }
    }
}

impl Store for RoleStore {
    fn head(&self, location: &Location) -> Result<ObjectMeta, Error> {
        self.may_read(location)?;
        self.store.head(location)
    }

    fn encryption_key(&self, location: &Location) -> Result<Option<String>, Error> {
        self.may_read(location)?;
        self.store.encryption_key(location)
    }

    fn read(
        &self,
        location: &Location,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Bytes, Error> {
        self.may_read(location)?;
        self.may_decrypt(location)?;
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

    fn put_with_key(
        &self,
        location: &Location,
        body: Bytes,
        key: &str,
    ) -> Result<ObjectMeta, Error> {
        self.may_write(location)?;
        self.may_use_key(GENERATE_DATA_KEY, key)?;
        self.store.put_with_key(location, body, key)
    }

    fn delete(&self, location: &Location) -> Result<(), Error> {
        self.ask(DELETE, Resource::Object(location))?;
        self.store.delete(location)
    }

    fn start_upload(&self, location: &Location) -> Result<String, Error> {
        self.may_write(location)?;
        self.store.start_upload(location)
    }

    fn start_upload_with_key(&self, location: &Location, key: &str) -> Result<String, Error> {
        self.may_write(location)?;
        self.may_write_with_key(key)?;
        self.store.start_upload_with_key(location, key)
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
