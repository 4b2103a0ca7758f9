//! Objects as the engine's sources: opened as often as the engine needs, `.gz` expanded.

use crate::store_io::ObjectReader;
use kindred_engine::data::source::Source;
use kindred_store::{ObjectMeta, Store};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

/// One object of a job's input.
#[derive(Debug)]
pub(crate) struct ObjectSource {
    store: Arc<dyn Store>,
    bucket: String,
    meta: ObjectMeta,
    name: String,
}

impl ObjectSource {
    pub(crate) fn new(store: Arc<dyn Store>, bucket: &str, meta: ObjectMeta) -> Self {
        let name = format!("s3://{bucket}/{}", meta.key);
        ObjectSource {
            store,
            bucket: bucket.to_owned(),
            meta,
            name,
        }
    }
}

impl Source for ObjectSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.meta.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(ObjectReader::new(
            self.store.clone(),
            &self.bucket,
            self.meta.clone(),
        )))
    }

    fn open_range(&self, range: Range<u64>) -> io::Result<Option<Box<dyn Read + Send>>> {
        let reader =
            ObjectReader::of_range(self.store.clone(), &self.bucket, self.meta.clone(), range);
        Ok(Some(Box::new(reader)))
    }
}
