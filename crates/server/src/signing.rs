//! Signs requests of our own, by Signature Version 4: of the program's subcommands to a server, and
//! of a server to another key service.
//!
//! Requests have no query; host, date, content hash and all given headers are signed. What checks
//! signatures is `sigv4`.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, macros::format_description};

/// Who signs, for what.
#[derive(Clone, Copy)]
pub struct Signer<'s> {
    /// The access key's id.
    pub access_key: &'s str,
    /// Its secret.
    pub secret: &'s str,
    /// Part of the scope.
    pub region: &'s str,
    /// Part of the scope, for example `kms`.
    pub service: &'s str,
}

/// A request as far as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'r> {
    /// For example `POST`.
    pub method: &'r str,
    /// As it goes on the wire, percent-encoded.
    pub path: &'r str,
    /// The value of the `Host` header.
    pub host: &'r str,
    /// Further headers, in lower case.
    pub headers: &'r [(&'r str, &'r str)],
    /// The whole body.
    pub body: &'r [u8],
}

impl std::fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, ****)", self.access_key)
    }
}

impl Signer<'_> {
    /// All headers of the signed request.
    ///
    /// # Errors
    /// When the time cannot be written as a date.
    pub fn sign(
        &self,
        request: &Unsigned<'_>,
        now_ms: i64,
    ) -> Result<Vec<(String, String)>, String> {
        let date = amz_date(now_ms)?;
        let hash = hex::encode(Sha256::digest(request.body));
        let mut signed: Vec<(&str, &str)> = vec![
            ("host", request.host),
            ("x-amz-content-sha256", &hash),
            ("x-amz-date", &date),
        ];
        signed.extend(request.headers.iter().copied());
        signed.sort_unstable();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = signed
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let (method, path) = (request.method, request.path);
        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{hash}");
        let (region, service) = (self.region, self.service);
        let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
        let text = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), &date[..8]);
        for part in [region, service, "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex::encode(mac(&key, &text));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key
        );
        let mut headers: Vec<(String, String)> = signed
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        headers.push(("authorization".to_owned(), authorization));
        Ok(headers)
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// `YYYYMMDD'T'HHMMSS'Z'` of milliseconds since the epoch.
fn amz_date(ms: i64) -> Result<String, String> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .map_err(|error| error.to_string())?
        .format(format)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(amz_date(0).unwrap(), "19700101T000000Z");
        assert_eq!(amz_date(951_782_399_000).unwrap(), "20000228T235959Z");
        assert_eq!(amz_date(951_782_400_999).unwrap(), "20000229T000000Z");
        assert_eq!(amz_date(1_795_475_293_000).unwrap(), "20261123T230813Z");
    }
}
