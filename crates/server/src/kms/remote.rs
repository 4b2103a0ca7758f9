//! A key service elsewhere, by configuration: the same operations, over signed HTTP.
//!
//! Only the endpoint of the configuration is ever connected to; an ARN never chooses a host. Plain
//! HTTP: TLS ends at a proxy beside the server. Calls are blocking, as all calls for keys are, and
//! have a deadline; a service that does not answer makes jobs wait, as a store that is away does.

use crate::signing::{Signer, Unsigned};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kindred_store::keys::{Context, DataKey, Secret, refused};
use kindred_store::{Error, KeyProblem, KeyService};
use kindred_types::parts::Clock;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The key service behind an endpoint.
pub(crate) struct RemoteKeys {
    endpoint: String,
    host: String,
    region: String,
    access_key: String,
    secret: Zeroizing<String>,
    clock: Arc<dyn Clock>,
    http: Client<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
}

impl std::fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteKeys({})", self.endpoint)
    }
}

/// Where the service is and who calls it.
pub(crate) struct RemoteSettings {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) credentials_file: PathBuf,
}

impl RemoteKeys {
    pub(crate) fn new(settings: &RemoteSettings, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let endpoint = settings.endpoint.trim_end_matches('/').to_owned();
        let host = endpoint.strip_prefix("http://").unwrap_or_default();
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(Error::Invalid(format!(
                "kms.endpoint: expected http://HOST:PORT, found {endpoint:?}"
            )));
        }
        let host = host.to_owned();
        let (access_key, secret) = credentials(&settings.credentials_file)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("kms")
            .build()
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(RemoteKeys {
            endpoint,
            host,
            region: settings.region.clone(),
            access_key,
            secret,
            clock,
            http: Client::builder(TokioExecutor::new()).build_http(),
            runtime,
        })
    }

    /// Calls `kms:<operation>` for `key`.
    fn call(&self, action: &'static str, key: &str, input: &Value) -> Result<Value, Error> {
        let body = Bytes::from(input.to_string());
        let target = format!("TrentService.{}", action.trim_start_matches("kms:"));
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        let unsigned = Unsigned {
            method: "POST",
            path: "/",
            host: &self.host,
            headers: &headers,
            body: &body,
        };
        let signer = Signer {
            access_key: &self.access_key,
            secret: &self.secret,
            region: &self.region,
            service: "kms",
        };
        let signed = signer.sign(&unsigned, self.clock.now().0);
        let mut request = http::Request::post(format!("{}/", self.endpoint));
        for (name, value) in signed.map_err(Error::Invalid)? {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let (status, answer) = self.send(request)?;
        let value: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let code = value["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        tracing::warn!(endpoint = %self.endpoint, action, key, %status, code, "the key service refused");
        Err(match code {
            "NotFoundException" => refused(action, key, KeyProblem::NotFound),
            "DisabledException" | "KMSInvalidStateException" => {
                refused(action, key, KeyProblem::Disabled)
            }
            "InvalidCiphertextException" | "IncorrectKeyException" => {
                refused(action, key, KeyProblem::Ciphertext)
            }
            _ if status.is_server_error() || code == "ThrottlingException" => {
                Error::Unavailable(format!("the key service answered {status} {code}"))
            }
            _ => refused(action, key, KeyProblem::Denied),
        })
    }

    fn send(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<(http::StatusCode, Zeroizing<Vec<u8>>), Error> {
        let away = |reason: &dyn std::fmt::Display| {
            Error::Unavailable(format!("the key service at {}: {reason}", self.endpoint))
        };
        // Called from job threads and from threads that may block, never from within a runtime.
        self.runtime.block_on(async {
            let exchange = async {
                let response = self.http.request(request).await.map_err(|e| away(&e))?;
                let status = response.status();
                let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
                let body = body.collect().await.map_err(|e| away(&e))?.to_bytes();
                Ok((status, Zeroizing::new(body.to_vec())))
            };
            let answered = tokio::time::timeout(DEADLINE, exchange).await;
            answered.unwrap_or_else(|_| Err(away(&"no answer in time")))
        })
    }
}

/// The first access key of a file in the AWS shared-credentials format.
fn credentials(path: &Path) -> Result<(String, Zeroizing<String>), Error> {
    let wrong =
        |reason: &str| Error::Invalid(format!("kms.credentials_file {}: {reason}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| wrong(&error.to_string()))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(wrong("it can be read by others: run chmod 600 on it"));
    }
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| wrong(&error.to_string()))?;
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(access_key), Some(secret)) => Ok((access_key, Zeroizing::new(secret))),
        _ => Err(wrong("it has no access key")),
    }
}

fn blob(value: &Value, member: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let text = value[member].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(text).map(Zeroizing::new);
    bytes.map_err(|_| Error::Unavailable(format!("the key service gave no {member}")))
}

fn data_key(value: &Value) -> Result<Secret, Error> {
    let wrong = || Error::Unavailable("the key service gave a data key of another length".into());
    Secret::from_slice(&blob(value, "Plaintext")?).ok_or_else(wrong)
}

impl KeyService for RemoteKeys {
    fn describe(&self, key: &str) -> Result<String, Error> {
        let action = "kms:DescribeKey";
        let answer = self.call(action, key, &json!({"KeyId": key}))?;
        let about = &answer["KeyMetadata"];
        if about["Enabled"] != true {
            return Err(refused(action, key, KeyProblem::Disabled));
        }
        Ok(about["Arn"].as_str().unwrap_or(key).to_owned())
    }

    fn generate_data_key(&self, key: &str, context: &Context) -> Result<DataKey, Error> {
        let input = json!({"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context});
        let answer = self.call("kms:GenerateDataKey", key, &input)?;
        Ok(DataKey {
            key_arn: answer["KeyId"].as_str().unwrap_or(key).to_owned(),
            wrapped: blob(&answer, "CiphertextBlob")?.to_vec(),
            secret: data_key(&answer)?,
        })
    }

    fn decrypt(&self, key: &str, wrapped: &[u8], context: &Context) -> Result<Secret, Error> {
        let input = json!({
            "KeyId": key,
            "CiphertextBlob": STANDARD.encode(wrapped),
            "EncryptionContext": context,
        });
        data_key(&self.call("kms:Decrypt", key, &input)?)
    }
}
