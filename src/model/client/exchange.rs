//! One request and its answer over HTTP: how long it may take, how large it may be, and when it
//! is sent again.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use serde_json::Value;

use super::ModelProvider;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::limits::MODEL_RETRY_WAIT_MS_MAX;

/// What a server answered that did not refuse.
pub(super) struct Answered {
    status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// Bytes of a refusal that are read: what providers say of one is far shorter.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// Characters of a server's words that an error holds.
const WORDS_CHARS_MAX: usize = 300;
/// The version of Anthropic's API that requests are written for.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// The longest wait that doubling comes to.
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// Sends requests to one server.
pub(super) struct Exchange {
    client: Client,
    url: Url,
    headers: HeaderMap,
    key: Option<Secret>,
    retries: Retries,
    timeout: Duration,
    answer_bytes: usize,
    /// The server has shown that it knows no shapes of answers.
    knows_no_schema: AtomicBool,
}

/// How often a request is sent again, and after how long.
pub(super) struct Retries {
    pub(super) count: u32,
    pub(super) backoff: Duration,
}

/// What is sent.
pub(super) struct Body {
    pub(super) body: Vec<u8>,
    /// The same without the shape of the answer, where it has one: not every server knows shapes.
    pub(super) without_schema: Option<Vec<u8>>,
}

/// Why one request came to nothing.
struct Failure {
    reason: String,
    is_transient: bool,
    /// Whether every other request would fail in the same way.
    is_unavailable: bool,
    /// Whether the shape of the answer may be what the server refused.
    may_be_schema: bool,
    /// How long the server asks to be left alone.
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(reason: impl Into<String>, is_transient: bool) -> Self {
        let reason = reason.into();
        let (is_unavailable, may_be_schema, retry_after) = (false, false, None);
        Self { reason, is_transient, is_unavailable, may_be_schema, retry_after }
    }

    fn unavailable(self) -> Self {
        Self { is_unavailable: true, ..self }
    }
}

impl Exchange {
    pub(super) fn new(
        provider: ModelProvider,
        url: Url,
        key: Option<Secret>,
        retries: Retries,
    ) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (name, prefix) = match provider {
            ModelProvider::OpenAi => ("authorization", "Bearer "),
            ModelProvider::Anthropic => ("x-api-key", ""),
        };
        if let Some(key) = &key {
            headers.insert(HeaderName::from_static(name), key.header(prefix)?);
        }
        if provider == ModelProvider::Anthropic {
            let version = HeaderValue::from_static(ANTHROPIC_VERSION);
            headers.insert(HeaderName::from_static("anthropic-version"), version);
        }
        let client = client(&url)?;
        let (timeout, answer_bytes) = (Duration::MAX, usize::MAX);
        let knows_no_schema = AtomicBool::new(false);
        Ok(Self { client, url, headers, key, retries, timeout, answer_bytes, knows_no_schema })
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) fn answer_bytes(mut self, bytes: usize) -> Self {
        self.answer_bytes = bytes;
        self
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// A server's words as an error may hold them: short, on one line, without the key.
    pub(super) fn clean(&self, words: &str) -> String {
        let words = match &self.key {
            Some(key) => key.hide_in(words),
            None => words.to_owned(),
        };
        let words = words.replace(char::is_control, " ");
        let words: Vec<&str> = words.split_whitespace().collect();
        words.join(" ").chars().take(WORDS_CHARS_MAX).collect()
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// What is wrong with an answer. One that is no JSON comes from a proxy or from another kind of
    /// server, and says so at its beginning.
    pub(super) fn unread(&self, reason: &str, answered: &Answered) -> Error {
        let reason = self.clean(reason);
        if serde_json::from_slice::<serde::de::IgnoredAny>(&answered.body).is_ok() {
            return Error::model(reason, false);
        }
        let begin = self.clean(&String::from_utf8_lossy(&answered.body));
        let begin = if begin.is_empty() { "with nothing" } else { &begin };
        Error::model(
            format!("{reason}; {} answers {}: {begin}", self.host(), answered.status),
            false,
        )
    }

    /// An answer, whatever it says.
    pub(super) async fn run(&self, body: Body) -> Result<Answered> {
        let answered = tokio::time::timeout(self.timeout, self.answered(body)).await;
        let failure = match answered {
            Ok(Ok(answered)) => return Ok(answered),
            Ok(Err(failure)) => failure,
            Err(_) => {
                let time = self.timeout.as_secs_f64();
                Failure::new(format!("no answer from {} within {time} s", self.host()), true)
            }
        };
        let reason = self.clean(&failure.reason);
        Err(if failure.is_unavailable {
            Error::model_unavailable(reason, failure.is_transient)
        } else {
            Error::model(reason, failure.is_transient)
        })
    }

    async fn answered(&self, body: Body) -> Result<Answered, Failure> {
        let Body { mut body, mut without_schema } = body;
        let mut was_refused = false;
        if self.knows_no_schema.load(Ordering::Relaxed)
            && let Some(plain) = without_schema.take()
        {
            body = plain;
        }
        let mut sent_again = 0;
        loop {
            let failure = match self.send(&body).await {
                Ok(answered) => {
                    // The plain form went through, so the shape was what was refused.
                    self.knows_no_schema.fetch_or(was_refused, Ordering::Relaxed);
                    return Ok(answered);
                }
                Err(failure) => failure,
            };
            if failure.may_be_schema
                && let Some(plain) = without_schema.take()
            {
                (body, was_refused) = (plain, true);
                continue;
            }
            if !failure.is_transient || sent_again == self.retries.count {
                return Err(failure);
            }
            tokio::time::sleep(self.wait(sent_again, &failure)?).await;
            sent_again += 1;
        }
    }

    /// How long to wait before a request is sent again. The server knows best, within bounds.
    fn wait(&self, sent_again: u32, failure: &Failure) -> Result<Duration, Failure> {
        let Some(asked) = failure.retry_after else {
            let doubled = self.retries.backoff.saturating_mul(1_u32 << sent_again.min(16));
            let wait = doubled.min(BACKOFF_MAX.max(self.retries.backoff));
            return Ok(wait.mul_f64(0.5 + chance() / 2.0));
        };
        if asked > Duration::from_millis(MODEL_RETRY_WAIT_MS_MAX) || asked > self.timeout {
            let reason = format!("{}; it asks to wait {} s", failure.reason, asked.as_secs());
            return Err(Failure::new(reason, true).unavailable());
        }
        Ok(asked)
    }

    async fn send(&self, body: &[u8]) -> Result<Answered, Failure> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone());
        let sent = request.body(body.to_vec()).send().await;
        let response = sent.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            let body = self.read(response, self.answer_bytes).await?;
            Ok(Answered { status, body })
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// The request that could not be sent, or the answer that broke off.
    fn broken(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let mut cause = error.source();
        while let Some(deeper) = cause.and_then(std::error::Error::source) {
            cause = Some(deeper);
        }
        let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
        let is_out_of_reach = error.is_connect();
        let what = if is_out_of_reach { "cannot be reached" } else { "broke off" };
        // Anything that was sent whole may be sent again: an answer changes nothing at a provider.
        let failure = Failure::new(format!("{} {what}: {cause}", self.host()), !error.is_builder());
        if is_out_of_reach { failure.unavailable() } else { failure }
    }

    async fn read(&self, mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        let too_large = || {
            let reason = format!("{} answers with more than {bytes_max} bytes", self.host());
            Failure::new(reason, false)
        };
        let announced = response.content_length().unwrap_or(0);
        if announced > bytes_max as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            if chunk.len() > bytes_max - bytes.len() {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let words = self.read(response, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let (words, code) = said(&words);
        let mut reason = format!("{} answers {status}", self.host());
        if !words.is_empty() {
            reason = format!("{reason}: {words}");
        }
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || status.is_server_error();
        let is_broke = is_broke(&words, &code);
        let is_unavailable = is_broke || code == "model_not_found" || is_for_all(status);
        let is_transient = is_busy && !is_broke;
        let is_refused =
            matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
        let may_be_schema = is_refused && !is_unavailable && !names_other_cause(&words, &code);
        Failure { reason, is_transient, is_unavailable, may_be_schema, retry_after }
    }
}

/// A client of its own connections, which follows no redirect: the key is for this server only.
fn client(url: &Url) -> Result<Client> {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls(url)?);
    let builder = if is_here(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| Error::invalid(format!("no client for models: {error}")))
}

/// Whether the server is on this machine, where no proxy stands between.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// TLS that trusts whom the machine trusts; without it, nobody: what is not asked for is not
/// looked for, and a machine without certificates still reaches a server of its own.
fn tls(url: &Url) -> Result<ClientConfig> {
    let failed = |error: rustls::Error| Error::invalid(format!("no TLS for models: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(failed)?;
    let config = if url.scheme() == "https" {
        config.with_platform_verifier().map_err(failed)?
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    Ok(config.with_no_client_auth())
}

/// Whether a status is about who asks, or about the model or the address that is asked, and not
/// about what it is asked.
fn is_for_all(status: StatusCode) -> bool {
    let statuses = [
        StatusCode::UNAUTHORIZED,
        StatusCode::PAYMENT_REQUIRED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    ];
    status.is_redirection() || statuses.contains(&status)
}

/// Whether an account is without money: it stays so, however long one waits and whatever is asked.
fn is_broke(words: &str, code: &str) -> bool {
    let codes = ["insufficient_quota", "billing_error"];
    // Anthropic says it in words alone, as a request that is not valid.
    codes.contains(&code) || words.to_lowercase().contains("credit balance is too low")
}

/// Whether a refusal says that it is about something else than the shape of the answer, so that
/// the same without a shape would be refused too.
fn names_other_cause(words: &str, code: &str) -> bool {
    const OF_SCHEMA: [&str; 6] =
        ["schema", "response_format", "response format", "json", "output_", "grammar"];
    const OF_OTHERS: [&str; 4] = ["context", "too long", "token", "content_filter"];
    let said = format!("{code} {words}").to_lowercase();
    let is_of = |causes: &[&str]| causes.iter().any(|cause| said.contains(cause));
    is_of(&OF_OTHERS) && !is_of(&OF_SCHEMA)
}

/// How long to wait, in the headers that say it as a number. A date, which no provider sends, is
/// passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let millis = number("retry-after-ms").map(Duration::from_millis);
    millis.or_else(|| number("retry-after").map(Duration::from_secs))
}

/// What a refusal says, and by which code.
fn said(bytes: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return (text, String::new()) };
    let error = value.get("error").unwrap_or(&value);
    let words = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    let words = words.as_str().map_or(text, str::to_owned);
    // Some servers put the status into the code, as a number.
    let code = ["code", "type"].iter().find_map(|name| error.get(name)?.as_str());
    (words, code.unwrap_or_default().to_owned())
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without chance, all of the waiting is left to the doubling.
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}
