//! Content checksums: CRC32, CRC32C, CRC64NVME, SHA-1 and SHA-256, of whole objects and of parts.
//!
//! What a client claims is checked while its bytes arrive; what was computed is kept with the object
//! and given back on request. A client that claims nothing gets a CRC64NVME, as on AWS. For objects
//! in parts a checksum is either of the whole content, put together from the parts' CRCs, or the
//! checksum of the parts' checksums.

use super::errors::refused;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::{S3Error, S3ErrorCode};
use std::collections::{BTreeMap, BTreeSet};

/// Key under which the type of an object's checksum is kept beside it.
pub(super) const TYPE: &str = "type";
/// Key under which an unfinished upload keeps its algorithm.
pub(super) const ALGORITHM: &str = "algorithm";
pub(super) const FULL_OBJECT: &str = "FULL_OBJECT";
pub(super) const COMPOSITE: &str = "COMPOSITE";

/// The algorithms, by the name they are kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

pub(super) const ALL: [Algorithm; 5] = [
    Algorithm::Crc32,
    Algorithm::Crc32c,
    Algorithm::Crc64Nvme,
    Algorithm::Sha1,
    Algorithm::Sha256,
];

impl Algorithm {
    /// Lower-case name: in headers and in what is stored.
    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "crc32",
            Algorithm::Crc32c => "crc32c",
            Algorithm::Crc64Nvme => "crc64nvme",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
        }
    }

    /// The algorithm of a name in any case.
    pub(super) fn parse(name: &str) -> Result<Self, S3Error> {
        ALL.into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                refused(
                    S3ErrorCode::InvalidRequest,
                    "Checksum algorithm provided is unsupported.",
                )
            })
    }

    /// Reflected polynomial and width of a CRC.
    fn crc(self) -> Option<(u64, u32)> {
        match self {
            Algorithm::Crc32 => Some((0xedb8_8320, 32)),
            Algorithm::Crc32c => Some((0x82f6_3b78, 32)),
            Algorithm::Crc64Nvme => Some((0x9a6c_9329_ac4b_c9b5, 64)),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    /// Whether the checksum of a whole can be had from those of its parts.
    pub(super) fn combines(self) -> bool {
        self.crc().is_some()
    }
}

/// Checksums by algorithm name, base64; with [`TYPE`] when they are an object's.
pub(super) type Sums = BTreeMap<String, String>;

/// What a request says about the checksum of its body.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Given in headers.
    pub(super) given: BTreeMap<Algorithm, String>,
    /// Asked for, or announced as a trailing header.
    pub(super) wanted: BTreeSet<Algorithm>,
}

impl Claims {
    /// Reads the claims of a request with a body.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut claims = Claims {
            given: given(headers),
            wanted: BTreeSet::new(),
        };
        claims.wanted.extend(claims.given.keys());
        if let Some(name) = header(headers, "x-amz-sdk-checksum-algorithm") {
            claims.wanted.insert(Algorithm::parse(name)?);
        }
        for name in header(headers, "x-amz-trailer").unwrap_or("").split(',') {
            if let Some(name) = name
                .trim()
                .to_ascii_lowercase()
                .strip_prefix("x-amz-checksum-")
            {
                claims.wanted.insert(Algorithm::parse(name)?);
            }
        }
        if claims.given.len() > 1 {
            return Err(refused(
                S3ErrorCode::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        Ok(claims)
    }

    /// Checks what was computed against the headers and the trailing headers.
    pub(super) fn check(&self, computed: &Sums, trailers: &HeaderMap) -> Result<(), S3Error> {
        for (algorithm, claimed) in self
            .given
            .iter()
            .map(|(key, value)| (*key, value.clone()))
            .chain(given(trailers))
        {
            if computed.get(algorithm.name()) != Some(&claimed) {
                return Err(refused(
                    S3ErrorCode::BadDigest,
                    format!(
                        "The {} you specified did not match the calculated checksum.",
                        algorithm.name().to_uppercase()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The `x-amz-checksum-*` values among some headers.
pub(super) fn given(headers: &HeaderMap) -> BTreeMap<Algorithm, String> {
    let value = |algorithm: Algorithm| {
        header(headers, &format!("x-amz-checksum-{}", algorithm.name())).map(str::to_owned)
    };
    ALL.into_iter()
        .filter_map(|algorithm| Some((algorithm, value(algorithm)?)))
        .collect()
}

/// A hasher for some algorithms.
pub(super) fn hasher(wanted: &BTreeSet<Algorithm>) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    for algorithm in wanted {
        match algorithm {
            Algorithm::Crc32 => hasher.crc32 = Some(s3s::crypto::Crc32::new()),
            Algorithm::Crc32c => hasher.crc32c = Some(s3s::crypto::Crc32c::new()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::new()),
            Algorithm::Sha1 => hasher.sha1 = Some(s3s::crypto::Sha1::new()),
            Algorithm::Sha256 => hasher.sha256 = Some(s3s::crypto::Sha256::new()),
        }
    }
    hasher
}

/// What a hasher found.
pub(super) fn sums(hasher: ChecksumHasher) -> Sums {
    let found = hasher.finalize();
    let all = [
        found.checksum_crc32,
        found.checksum_crc32c,
        found.checksum_crc64nvme,
        found.checksum_sha1,
        found.checksum_sha256,
    ];
    let named = ALL.into_iter().zip(all);
    named
        .filter_map(|(algorithm, sum)| Some((algorithm.name().to_owned(), sum?)))
        .collect()
}

/// A part as a checksum of the whole sees it: its checksum, base64, and its length.
pub(super) type PartSum<'p> = (&'p str, u64);

/// The checksum of an object in parts: of the whole content, or of the parts' checksums.
pub(super) fn of_parts(
    algorithm: Algorithm,
    kind: &str,
    parts: &[PartSum<'_>],
) -> Result<String, S3Error> {
    let damaged = || {
        refused(
            S3ErrorCode::InternalError,
            "A part's checksum cannot be read.",
        )
    };
    let decode = |sum: &str| STANDARD.decode(sum).map_err(|_| damaged());
    if kind == COMPOSITE {
        let mut hasher = hasher(&BTreeSet::from([algorithm]));
        for (sum, _) in parts {
            hasher.update(&decode(sum)?);
        }
        let sum = sums(hasher).remove(algorithm.name()).ok_or_else(damaged)?;
        return Ok(format!("{sum}-{}", parts.len()));
    }
    let (polynomial, width) = algorithm.crc().ok_or_else(damaged)?;
    let mut whole = 0u64;
    for (sum, bytes) in parts {
        let raw = decode(sum)?;
        if raw.len() * 8 != width as usize {
            return Err(damaged());
        }
        let part = raw
            .iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        whole = combine(polynomial, width, whole, part, *bytes);
    }
    Ok(STANDARD.encode(&whole.to_be_bytes()[8 - width as usize / 8..]))
}

/// The CRC of two stretches of bytes from their CRCs and the length of the second.
///
/// Appending n bytes multiplies the first CRC by x^(8n) modulo the polynomial; that both CRCs start
/// and end inverted cancels out.
fn combine(polynomial: u64, width: u32, first: u64, second: u64, second_bytes: u64) -> u64 {
    let mut shifted = first;
    // x^8, squared once for every binary digit of the length.
    let mut power = 1u64 << (width - 1 - 8);
    let mut left = second_bytes;
    while left > 0 {
        if left & 1 == 1 {
            shifted = multiply(polynomial, width, shifted, power);
        }
        power = multiply(polynomial, width, power, power);
        left >>= 1;
    }
    shifted ^ second
}

/// Product of two reflected polynomials modulo `polynomial`; the highest bit stands for 1.
fn multiply(polynomial: u64, width: u32, a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    for bit in (0..width).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 {
            b >> 1 ^ polynomial
        } else {
            b >> 1
        };
    }
    product
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, content: &[u8]) -> String {
        let mut hasher = hasher(&BTreeSet::from([algorithm]));
        hasher.update(content);
        sums(hasher).remove(algorithm.name()).unwrap()
    }

    #[test]
    fn known_values() {
        // Check values of the catalogue of parametrised CRC algorithms for "123456789".
        let expected = [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ];
        for (algorithm, expected) in expected {
            let raw = STANDARD.decode(sum(algorithm, b"123456789")).unwrap();
            assert_eq!(hex::encode(raw), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn the_crc_of_a_whole_comes_from_those_of_its_parts() {
        let content: Vec<u8> = (0..100_000u32)
            .map(|number| ((number * 7) >> 3) as u8)
            .collect();
        for algorithm in ALL.into_iter().filter(|algorithm| algorithm.combines()) {
            for cuts in [
                vec![],
                vec![0],
                vec![1],
                vec![50_000],
                vec![3, 3, 77_777, 99_999],
            ] {
                let ends: Vec<usize> = cuts.iter().copied().chain([content.len()]).collect();
                let mut start = 0;
                let parts: Vec<(String, u64)> = ends
                    .iter()
                    .map(|end| {
                        let part = &content[start..*end];
                        start = *end;
                        (sum(algorithm, part), part.len() as u64)
                    })
                    .collect();
                let parts: Vec<PartSum<'_>> = parts
                    .iter()
                    .map(|(sum, bytes)| (sum.as_str(), *bytes))
                    .collect();
                let whole = of_parts(algorithm, FULL_OBJECT, &parts).unwrap();
                assert_eq!(whole, sum(algorithm, &content), "{algorithm:?} {cuts:?}");
            }
        }
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_checksums() {
        let parts = [
            (sum(Algorithm::Sha256, b"one"), 3),
            (sum(Algorithm::Sha256, b"two"), 3),
        ];
        let raw: Vec<u8> = parts
            .iter()
            .flat_map(|(sum, _)| STANDARD.decode(sum).unwrap())
            .collect();
        let parts: Vec<PartSum<'_>> = parts
            .iter()
            .map(|(sum, bytes)| (sum.as_str(), *bytes))
            .collect();
        let expected = format!("{}-2", sum(Algorithm::Sha256, &raw));
        assert_eq!(
            of_parts(Algorithm::Sha256, COMPOSITE, &parts).unwrap(),
            expected
        );
        assert!(of_parts(Algorithm::Sha256, FULL_OBJECT, &parts).is_err());
    }
}
