//! Encrypted objects: whose key, and a seal over what an object is made of.
//!
//! Each object (or upload) has a data key of its own, wrapped for its name. Its blobs are sealed with
//! it under their ids (`crate::seal`). Which blobs make up the object, in which order, under which
//! name and entity tag is bound by a seal in the object's row, made with the same data key: rows that
//! somebody edited are noticed, as edited blobs are. Metadata and tags are kept in the clear.

use super::EmbeddedStore;
use super::index::{ObjectRow, SegmentRow};
use crate::keys::{Context, DataKey, KeyProblem, Secret};
use crate::{Error, Location};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};

/// What the key of the seal is derived for.
const PURPOSE: &[u8] = b"kindred object seal";

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The key that wrapped the data key.
    pub key_arn: String,
    /// The wrapped data key, base64.
    wrapped: String,
    /// Base64; of an unfinished upload none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
}

impl Encryption {
    pub(super) fn with(data_key: &DataKey) -> Self {
        Encryption {
            key_arn: data_key.key_arn.clone(),
            wrapped: STANDARD.encode(&data_key.wrapped),
            seal: None,
        }
    }

    /// Binds the row and its segments; the row's attributes are not part of it.
    pub(super) fn sealed(mut self, key: &Secret, row: &ObjectRow, segments: &[SegmentRow]) -> Self {
        let tag = hmac::sign(&seal_key(key), &described(row, segments));
        self.seal = Some(STANDARD.encode(tag));
        self
    }

    /// Fails unless the row and its segments are those that were sealed.
    pub(super) fn check(
        &self,
        key: &Secret,
        row: &ObjectRow,
        segments: &[SegmentRow],
    ) -> Result<(), Error> {
        let seal = self
            .seal
            .as_deref()
            .and_then(|text| STANDARD.decode(text).ok());
        let sealed = seal.is_some_and(|seal| {
            hmac::verify(&seal_key(key), &described(row, segments), &seal).is_ok()
        });
        if sealed {
            Ok(())
        } else {
            tracing::error!(location = %row.location, "the seal of an encrypted object does not match its rows");
            Err(Error::Damaged(row.location.clone()))
        }
    }

    pub(super) fn wrapped(&self, location: &Location) -> Result<Vec<u8>, Error> {
        STANDARD
            .decode(&self.wrapped)
            .map_err(|_| Error::Damaged(location.clone()))
    }

    pub(super) fn is_of(&self, data_key: &DataKey) -> bool {
        self.key_arn == data_key.key_arn && self.wrapped == STANDARD.encode(&data_key.wrapped)
    }
}

impl EmbeddedStore {
    /// A fresh data key for an object.
    pub(super) fn new_data_key(&self, location: &Location, key: &str) -> Result<DataKey, Error> {
        self.keys.generate_data_key(key, &context(location))
    }

    /// The data key of an object or upload that is there.
    pub(super) fn unlock(
        &self,
        location: &Location,
        encryption: &Encryption,
    ) -> Result<DataKey, Error> {
        let wrapped = encryption.wrapped(location)?;
        let key_arn = encryption.key_arn.clone();
        let secret = self
            .keys
            .decrypt(&key_arn, &wrapped, &context(location))
            .map_err(|error| match error {
                // The key is there and works: the row is not the one that was written.
                Error::Key {
                    problem: KeyProblem::Ciphertext,
                    ..
                } => Error::Damaged(location.clone()),
                other => other,
            })?;
        Ok(DataKey {
            key_arn,
            wrapped,
            secret,
        })
    }
}

/// What the data key of an object is bound to: the object's ARN, as on S3.
fn context(location: &Location) -> Context {
    let arn = format!("arn:aws:s3:::{}/{}", location.bucket, location.key);
    Context::from([("aws:s3:arn".to_owned(), arn)])
}

fn seal_key(key: &Secret) -> hmac::Key {
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key.bytes());
    let purpose = [PURPOSE];
    let material = derived.expand(&purpose, hmac::HMAC_SHA256);
    hmac::Key::from(material.expect("one key is within what can be derived"))
}

fn described(row: &ObjectRow, segments: &[SegmentRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    add(row.location.bucket.as_bytes());
    add(row.location.key.as_bytes());
    add(row.object.as_bytes());
    add(&row.size.to_be_bytes());
    add(row.etag.as_bytes());
    for segment in segments {
        add(&segment.start.to_be_bytes());
        add(&segment.number.to_be_bytes());
        add(segment.blob.as_bytes());
        add(&segment.size.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ObjectRow {
        ObjectRow {
            location: Location::new("bucket", "key"),
            object: "0b".into(),
            size: 30,
            etag: "e".into(),
            modified: 1,
            attributes: "{}".into(),
        }
    }

    fn segments() -> [SegmentRow; 2] {
        let segment = |number: u32, start: u64, blob: &str| SegmentRow {
            object: "0b".into(),
            start,
            number,
            blob: blob.into(),
            size: 15,
            checksums: "{}".into(),
        };
        [segment(1, 0, "b1"), segment(2, 15, "b2")]
    }

    #[test]
    fn rows_cannot_be_changed_moved_cut_or_put_in_another_order() {
        let data_key = DataKey {
            key_arn: "arn".into(),
            wrapped: vec![1, 2],
            secret: Secret::new([7; 32]),
        };
        let key = &data_key.secret;
        let sealed = Encryption::with(&data_key).sealed(key, &row(), &segments());
        sealed.check(key, &row(), &segments()).unwrap();
        let refused = |key: &Secret, row: &ObjectRow, segments: &[SegmentRow]| {
            let result = sealed.check(key, row, segments);
            assert!(
                matches!(result, Err(Error::Damaged(_))),
                "{row:?} {segments:?}"
            );
        };
        refused(&Secret::new([8; 32]), &row(), &segments());
        let changes: [fn(&mut ObjectRow); 5] = [
            |row| row.location.bucket = "other".into(),
            |row| row.location.key = "other".into(),
            |row| row.object = "0c".into(),
            |row| row.size = 15,
            |row| row.etag = "f".into(),
        ];
        for change in changes {
            let mut changed = row();
            change(&mut changed);
            refused(key, &changed, &segments());
        }
        let changes: [fn(&mut SegmentRow); 4] = [
            |segment| segment.start = 1,
            |segment| segment.number = 3,
            |segment| segment.blob = "b3".into(),
            |segment| segment.size = 14,
        ];
        for change in changes {
            let mut changed = segments();
            change(&mut changed[1]);
            refused(key, &row(), &changed);
        }
        let [one, two] = segments();
        refused(key, &row(), &[two.clone(), one.clone()]);
        refused(key, &row(), std::slice::from_ref(&one));
        refused(key, &row(), &[one.clone(), two, one]);
        let unsealed = Encryption::with(&data_key).check(key, &row(), &segments());
        assert!(matches!(unsealed, Err(Error::Damaged(_))));
    }
}
