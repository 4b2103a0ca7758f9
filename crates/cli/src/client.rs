//! A small signed HTTP client for the program's own subcommands.
//!
//! Speaks to a running server as any AWS client would: SigV4 on every request, the JSON protocol
//! for Personalize and keys, path style for S3. Blocking; plain HTTP only.

use crate::CliError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client as HyperClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kindred_server::signing::{Signer, Unsigned};
use kindred_types::parts::Clock;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Largest answer this client reads.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// What a call came back with instead of an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The server answered with an error.
    #[error("{code}: {message}")]
    Service {
        /// The exception's name, or the HTTP status.
        code: String,
        /// Its message.
        message: String,
    },
    /// No answer.
    #[error("cannot reach {endpoint}: {reason}")]
    Transport {
        /// Where the server should be.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
    /// The credentials file is missing or makes no sense.
    #[error("{0}")]
    Credentials(String),
}

/// An access key.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, ****)", self.access_key)
    }
}

impl Credentials {
    /// Reads the first profile of a credentials file in the AWS shared format.
    pub(crate) fn read(path: &Path) -> Result<Self, ClientError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ClientError::Credentials(format!("cannot read {}: {error}", path.display()))
        })?;
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim().to_owned())
        };
        match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(access_key), Some(secret)) => Ok(Credentials { access_key, secret }),
            _ => Err(ClientError::Credentials(format!(
                "no access key in {}",
                path.display()
            ))),
        }
    }
}

/// A client of one server.
pub(crate) struct Client {
    endpoint: String,
    region: String,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    http: HyperClient<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Runtime,
}

/// A request before it is signed.
struct Outgoing<'r> {
    service: &'static str,
    method: &'static str,
    /// Path as it goes on the wire, percent-encoded.
    path: String,
    headers: Vec<(&'static str, &'r str)>,
    body: Bytes,
}

impl Client {
    pub(crate) fn new(
        endpoint: &str,
        region: &str,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ClientError::Transport {
                endpoint: endpoint.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Client {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.to_owned(),
            credentials,
            clock,
            http: HyperClient::builder(TokioExecutor::new()).build_http(),
            runtime,
        })
    }

    /// A client of the server of a data directory, at another `endpoint` than the one noted there if given.
    pub(crate) fn of(data_dir: &Path, endpoint: Option<&str>) -> Result<Self, CliError> {
        let noted = kindred_server::Endpoint::read(data_dir);
        let client = Client::new(
            endpoint.unwrap_or(&noted.url),
            &noted.region,
            Credentials::read(&data_dir.join("credentials"))?,
            Arc::new(kindred_server::parts::SystemClock::default()),
        )?;
        Ok(client)
    }

    /// Calls a Personalize operation.
    pub(crate) fn personalize(&self, operation: &str, input: &Value) -> Result<Value, ClientError> {
        self.json(
            "personalize",
            &format!("AmazonPersonalize.{operation}"),
            input,
        )
    }

    /// Calls an operation of the key service.
    pub(crate) fn kms(&self, operation: &str, input: &Value) -> Result<Value, ClientError> {
        self.json("kms", &format!("TrentService.{operation}"), input)
    }

    /// The report of a job: what describing it leaves out.
    pub(crate) fn job(&self, arn: &str) -> Result<Value, ClientError> {
        let body = self.send(Outgoing {
            service: "personalize",
            method: "POST",
            path: "/_/jobs".to_owned(),
            headers: vec![("content-type", "application/x-amz-json-1.1")],
            body: Bytes::from(serde_json::json!({"jobArn": arn}).to_string()),
        })?;
        serde_json::from_slice(&body).map_err(|error| self.transport(&error))
    }

    fn json(
        &self,
        service: &'static str,
        target: &str,
        input: &Value,
    ) -> Result<Value, ClientError> {
        let body = self.send(Outgoing {
            service,
            method: "POST",
            path: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", target),
            ],
            body: Bytes::from(input.to_string()),
        })?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.transport(&error))
    }

    /// Does an action of IAM and gives the XML of its answer.
    pub(crate) fn iam(&self, action: &str, form: &[(&str, &str)]) -> Result<String, ClientError> {
        self.form("iam", "2010-05-08", action, form)
    }

    /// Does an action of STS and gives the XML of its answer.
    pub(crate) fn sts(&self, action: &str, form: &[(&str, &str)]) -> Result<String, ClientError> {
        self.form("sts", "2011-06-15", action, form)
    }

    fn form(
        &self,
        service: &'static str,
        version: &str,
        action: &str,
        form: &[(&str, &str)],
    ) -> Result<String, ClientError> {
        let pairs = [("Action", action), ("Version", version)];
        let pairs: Vec<String> = pairs
            .iter()
            .chain(form)
            .map(|(name, value)| format!("{name}={}", encode_path(value).replace('/', "%2F")))
            .collect();
        let body = self.send(Outgoing {
            service,
            method: "POST",
            path: "/".to_owned(),
            headers: vec![("content-type", "application/x-www-form-urlencoded")],
            body: pairs.join("&").into(),
        })?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Makes a bucket.
    pub(crate) fn create_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        self.s3("PUT", format!("/{bucket}"), Bytes::new())
            .map(|_| ())
    }

    /// Stores an object.
    pub(crate) fn put_object(
        &self,
        bucket: &str,
        key: &str,
        body: Bytes,
    ) -> Result<(), ClientError> {
        self.s3("PUT", format!("/{bucket}/{}", encode_path(key)), body)
            .map(|_| ())
    }

    /// Reads an object.
    pub(crate) fn get_object(&self, bucket: &str, key: &str) -> Result<Bytes, ClientError> {
        self.s3(
            "GET",
            format!("/{bucket}/{}", encode_path(key)),
            Bytes::new(),
        )
    }

    fn s3(&self, method: &'static str, path: String, body: Bytes) -> Result<Bytes, ClientError> {
        self.send(Outgoing {
            service: "s3",
            method,
            path,
            headers: Vec::new(),
            body,
        })
    }

    fn send(&self, outgoing: Outgoing<'_>) -> Result<Bytes, ClientError> {
        let request = self.sign(outgoing)?;
        self.runtime.block_on(async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|error| self.transport(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| self.transport(&*error))?
                .to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(service_error(status.as_u16(), &body))
            }
        })
    }

    fn sign(&self, outgoing: Outgoing<'_>) -> Result<http::Request<Full<Bytes>>, ClientError> {
        let Outgoing {
            service,
            method,
            path,
            headers,
            body,
        } = outgoing;
        let unsigned = Unsigned {
            method,
            path: &path,
            host: self.endpoint.trim_start_matches("http://"),
            headers: &headers,
            body: &body,
        };
        let signer = Signer {
            access_key: &self.credentials.access_key,
            secret: &self.credentials.secret,
            region: &self.region,
            service,
        };
        let signed = signer.sign(&unsigned, self.clock.now().0);
        let signed = signed.map_err(|reason| ClientError::Transport {
            endpoint: self.endpoint.clone(),
            reason: format!("the system's clock makes no sense: {reason}"),
        })?;
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint));
        for (name, value) in signed {
            request = request.header(name, value);
        }
        request
            .body(Full::new(body))
            .map_err(|error| self.transport(&error))
    }

    fn transport(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            reason = format!("{reason}: {inner}");
            source = inner.source();
        }
        ClientError::Transport {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }
}

fn service_error(status: u16, body: &[u8]) -> ClientError {
    let text = String::from_utf8_lossy(body);
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let member = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        return ClientError::Service {
            code: member("__type"),
            message: member("message"),
        };
    }
    let element = |name: &str| {
        let start = text.find(&format!("<{name}>"))? + name.len() + 2;
        let end = text[start..].find("</")? + start;
        Some(text[start..end].to_owned())
    };
    ClientError::Service {
        code: element("Code").unwrap_or_else(|| status.to_string()),
        message: element("Message").unwrap_or_default(),
    }
}

/// Percent-encodes a key for a path, slashes kept.
fn encode_path(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                (byte as char).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_byte_by_byte() {
        assert_eq!(encode_path("a b/ü+%"), "a%20b/%C3%BC%2B%25");
    }

    #[test]
    fn errors_of_both_planes_are_understood() {
        let json = service_error(400, br#"{"__type":"InvalidInputException","message":"no"}"#);
        assert_eq!(json.to_string(), "InvalidInputException: no");
        let xml = service_error(
            404,
            b"<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>",
        );
        assert_eq!(xml.to_string(), "NoSuchKey: gone");
    }
}
