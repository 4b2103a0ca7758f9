//! Bodies in `aws-chunked` packing, unpacked without checking the chunks' signatures.
//!
//! Only for the modes that check no signatures at all; otherwise the protocol layer unpacks.
//! `<hex length>[;chunk-signature=…]\r\n<bytes>\r\n`, ended by a chunk of length 0 and trailing
//! headers.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::StreamingBlob;
use s3s::{Body, StdError};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest line between chunks.
const LINE_BYTES_MAX: usize = 8192;
/// Most trailing headers.
const TRAILERS_MAX: usize = 32;

/// The headers behind the body, there once it was read to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Trailers(Arc<Mutex<HeaderMap>>);

impl Trailers {
    /// What has been read so far.
    pub(super) fn get(&self) -> HeaderMap {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, headers: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = headers;
    }
}

#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("AwsChunked: FormatError")]
    Format,
    #[error("AwsChunked: Incomplete")]
    Incomplete,
    #[error("AwsChunked: Underlying: {0}")]
    Underlying(StdError),
}

/// The content of a packed body; its trailing headers go to `trailers`.
pub(super) fn decoded(body: Body, trailers: Trailers) -> Body {
    let decoder = Decoder {
        body,
        buffer: BytesMut::new(),
        left: 0,
        started: false,
        trailers,
    };
    let stream = futures::stream::try_unfold(decoder, |mut decoder| async move {
        let next = decoder.next().await?;
        Ok::<_, Malformed>(next.map(|bytes| (bytes, decoder)))
    });
    Body::from(StreamingBlob::wrap(stream.into_stream()))
}

struct Decoder {
    body: Body,
    buffer: BytesMut,
    /// Bytes of the current chunk that are still to come.
    left: u64,
    started: bool,
    trailers: Trailers,
}

impl Decoder {
    async fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        if self.left == 0 {
            if self.started && !self.line().await?.is_empty() {
                return Err(Malformed::Format);
            }
            self.started = true;
            let line = self.line().await?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let digits = std::str::from_utf8(digits).map_err(|_| Malformed::Format)?;
            self.left = u64::from_str_radix(digits.trim(), 16).map_err(|_| Malformed::Format)?;
            if self.left == 0 {
                self.read_trailers().await?;
                return Ok(None);
            }
        }
        if self.buffer.is_empty() && !self.fill().await? {
            return Err(Malformed::Incomplete);
        }
        let take = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(self.buffer.len());
        self.left -= take as u64;
        Ok(Some(self.buffer.split_to(take).freeze()))
    }

    async fn read_trailers(&mut self) -> Result<(), Malformed> {
        let mut headers = HeaderMap::new();
        loop {
            let line = match self.line().await {
                Ok(line) => line,
                // Some clients end right behind the last chunk.
                Err(Malformed::Incomplete) if self.buffer.is_empty() => break,
                Err(error) => return Err(error),
            };
            if line.is_empty() {
                break;
            }
            let text = std::str::from_utf8(&line).map_err(|_| Malformed::Format)?;
            let (name, value) = text.split_once(':').ok_or(Malformed::Format)?;
            let name: HeaderName = name.trim().parse().map_err(|_| Malformed::Format)?;
            let value: HeaderValue = value.trim().parse().map_err(|_| Malformed::Format)?;
            headers.append(name, value);
            if headers.len() > TRAILERS_MAX {
                return Err(Malformed::Format);
            }
        }
        self.trailers.set(headers);
        Ok(())
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<Bytes, Malformed> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..]
                .windows(2)
                .position(|two| two == b"\r\n")
            {
                let line = self.buffer.split_to(searched + at).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            searched = self.buffer.len().saturating_sub(1);
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(Malformed::Format);
            }
            if !self.fill().await? {
                return Err(Malformed::Incomplete);
            }
        }
    }

    async fn fill(&mut self) -> Result<bool, Malformed> {
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(true)
            }
            Some(Err(error)) => Err(Malformed::Underlying(error)),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(packed: &str, expected: Result<&str, ()>) -> HeaderMap {
        // One byte at a time is the hardest way to get it.
        for size in [1, 7, usize::MAX] {
            let pieces: Vec<Result<Bytes, std::io::Error>> = packed
                .as_bytes()
                .chunks(size)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            let body = Body::from(StreamingBlob::wrap(futures::stream::iter(pieces)));
            let trailers = Trailers::default();
            let content = decoded(body, trailers.clone())
                .try_collect::<Vec<Bytes>>()
                .await;
            match expected {
                Ok(expected) => assert_eq!(content.unwrap().concat(), expected.as_bytes()),
                Err(()) => assert!(content.is_err(), "{packed:?}"),
            }
            if size == usize::MAX {
                return trailers.get();
            }
        }
        unreachable!("the last size returns")
    }

    #[tokio::test]
    async fn chunks_and_trailers() {
        let signed = "5;chunk-signature=ab\r\nhello\r\n6;chunk-signature=cd\r\n world\r\n0;chunk-signature=ef\r\n\r\n";
        check(signed, Ok("hello world")).await;
        let trailers = check(
            "3\r\na\r\n\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            Ok("a\r\n"),
        )
        .await;
        assert_eq!(trailers["x-amz-checksum-crc32"], "AAAAAA==");
        check("0\r\n\r\n", Ok("")).await;
        check("0\r\n", Ok("")).await;
        for bad in [
            "",
            "5\r\nhel",
            "zz\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhello\r\n",
            "ffffffffffffffffff\r\n",
        ] {
            check(bad, Err(())).await;
        }
        check(&"a".repeat(9000), Err(())).await;
    }
}
