//! Which objects an `s3://` path of a request means.
//!
//! An exact key wins; otherwise the path is a prefix, as on the real service. Imports and segment
//! jobs leave out different names.

use crate::role_store::RoleStore;
use kindred_store::{Error, ListPage, Location, ObjectMeta, Store};

/// Most objects one path may stand for.
pub const OBJECTS_MAX: usize = 100_000;

const PAGE: usize = 1000;

/// The objects of an import's `dataLocation`, in key order. A path without trailing `/` that is no
/// object is tried as a folder first, then as a bare prefix. Names whose first segment after the
/// prefix starts with `_` or `.` are left out.
pub fn import_objects(store: &dyn Store, location: &Location) -> Result<Vec<ObjectMeta>, Error> {
    if let Some(object) = exact(store, location)? {
        return Ok(vec![object]);
    }
    let mut prefixes = vec![location.key.clone()];
    if !location.key.is_empty() && !location.key.ends_with('/') {
        prefixes.insert(0, format!("{}/", location.key));
    }
    for prefix in prefixes {
        let mut found = below(store, &location.bucket, &prefix)?;
        found.retain(|object| {
            let rest = object.key[prefix.len()..].trim_start_matches('/');
            !object.key.ends_with('/') && !rest.starts_with(['_', '.'])
        });
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The objects of a segment job's input path, in key order. Folder marks, empty objects, names that
/// start with `_` or `.` and earlier results (`.out`) are left out of a prefix.
pub fn segment_objects(store: &dyn Store, location: &Location) -> Result<Vec<ObjectMeta>, Error> {
    if let Some(object) = exact(store, location)? {
        return Ok(vec![object]);
    }
    let mut found = below(store, &location.bucket, &location.key)?;
    found.retain(|object| {
        let name = object.key.rsplit('/').next().unwrap_or_default();
        object.size > 0
            && !name.is_empty()
            && !name.starts_with(['_', '.'])
            && !name.ends_with(".out")
    });
    Ok(found)
}

/// Whether the role may list the location and read each of its objects. Asked before anything is
/// read, because a job that fails half way has cost its time.
pub(crate) fn check_readable(
    store: &RoleStore,
    location: &Location,
    objects: &[ObjectMeta],
) -> Result<(), Error> {
    store.may_list(&location.bucket, &location.key)?;
    objects.iter().try_for_each(|object| {
        let object = Location::new(location.bucket.clone(), object.key.clone());
        store.may_read(&object)?;
        store.may_decrypt(&object)
    })
}

fn exact(store: &dyn Store, location: &Location) -> Result<Option<ObjectMeta>, Error> {
    if location.key.is_empty() || location.key.ends_with('/') {
        return Ok(None);
    }
    match store.head(location) {
        Ok(object) => Ok(Some(object)),
        Err(Error::NotFound(_)) => Ok(None),
        // Rights on a folder do not reach its bare name; that only matters if the name is an object.
        Err(denied @ Error::Denied { .. }) => {
            let first = store.list(&location.bucket, &location.key, None, 1)?;
            match first.objects.first() {
                Some(object) if object.key == location.key => Err(denied),
                _ => Ok(None),
            }
        }
        Err(error) => Err(error),
    }
}

fn below(store: &dyn Store, bucket: &str, prefix: &str) -> Result<Vec<ObjectMeta>, Error> {
    let mut objects: Vec<ObjectMeta> = Vec::new();
    loop {
        let after = objects.last().map(|object| object.key.clone());
        let ListPage {
            objects: page,
            truncated,
        } = store.list(bucket, prefix, after.as_deref(), PAGE)?;
        let ended = page.is_empty() || !truncated;
        objects.extend(page);
        if objects.len() > OBJECTS_MAX {
            return Err(Error::Invalid(format!(
                "s3://{bucket}/{prefix} stands for more than {OBJECTS_MAX} objects"
            )));
        }
        if ended {
            return Ok(objects);
        }
    }
}
