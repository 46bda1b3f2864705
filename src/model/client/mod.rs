//! One client for the models that most people use: servers that speak OpenAI's chat completions,
//! and Anthropic's messages.

mod anthropic;
mod exchange;
mod openai;
mod request;
mod secret;
mod unless;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::Value;
use tokio::runtime::Runtime;

use self::exchange::{Answered, Body, Exchange, Retries};
use self::secret::Secret;
use super::{Cancel, Model, ModelAnswer, ModelRequest};
use crate::error::{Context, Error, Result};
use crate::json::{Json, JsonObject};
use crate::limits::{MODEL_ANSWER_BYTES_MAX, MODEL_RETRIES_MAX};

/// How long an answer may take unless the client is told otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);
/// How often a request is sent again unless the client is told otherwise.
const RETRIES_DEFAULT: u32 = 3;
/// How long the first of these waits unless the client is told otherwise.
const BACKOFF_DEFAULT: Duration = Duration::from_millis(500);

/// Whose protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelProvider {
    /// OpenAI's chat completions: OpenAI itself, and most servers that one runs oneself.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl ModelProvider {
    /// `openai` or `anthropic`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    const fn base_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com",
        }
    }

    const fn key_variable(self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI_API_KEY",
            Self::Anthropic => "ANTHROPIC_API_KEY",
        }
    }
}

impl fmt::Display for ModelProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ModelProvider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "openai" => Ok(Self::OpenAi),
            "anthropic" => Ok(Self::Anthropic),
            _ => Err(Error::invalid(format!("{text:?} is no provider: use openai or anthropic"))),
        }
    }
}

/// A model behind a server that speaks OpenAI's chat completions or Anthropic's messages.
///
/// It blocks, on a small runtime of its own, so it may be asked from any thread, inside of another
/// runtime too, and from many threads at once. What is sent is legal for the provider, whatever
/// messages it is asked with: they go the way of [`to_openai`](crate::to_openai) and
/// [`to_anthropic`](crate::to_anthropic). A server that refuses the shape of an answer, and then
/// answers without one, is asked without shapes from then on.
///
/// ```no_run
/// use sessionlog::{Cancel, Message, Model, ModelClient, ModelProvider, ModelRequest};
///
/// // The key is that of OPENAI_API_KEY.
/// let model = ModelClient::builder(ModelProvider::OpenAi, "gpt-4o-mini").build()?;
/// let request = ModelRequest::new([Message::user("Hello")]);
/// println!("{}", model.answer(&request, &Cancel::never())?.message.content.text());
///
/// // A server of one's own needs none.
/// let local = ModelClient::builder(ModelProvider::OpenAi, "llama3.2")
///     .base_url("http://localhost:11434/v1")
///     .build()?;
/// # Ok::<(), sessionlog::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Model`](crate::ErrorKind::Model) where no answer comes that can be used, and
/// whether asking again may help; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled);
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a request that no provider takes. No
/// error holds the key, whatever a server says.
pub struct ModelClient {
    model: String,
    provider: ModelProvider,
    exchange: Arc<Exchange>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// Settings of a [`ModelClient`].
#[must_use = "a client is made by `build`"]
#[derive(Debug, Clone)]
pub struct ModelClientBuilder {
    provider: ModelProvider,
    model: String,
    base_url: Option<String>,
    key: Option<Secret>,
    key_variable: Option<String>,
    timeout: Duration,
    retries: u32,
    backoff: Duration,
    answer_bytes: usize,
}

impl ModelClient {
    /// A client of a model by its provider's name for it.
    pub fn builder(provider: ModelProvider, model: impl Into<String>) -> ModelClientBuilder {
        ModelClientBuilder {
            provider,
            model: model.into(),
            base_url: None,
            key: None,
            key_variable: None,
            timeout: TIMEOUT_DEFAULT,
            retries: RETRIES_DEFAULT,
            backoff: BACKOFF_DEFAULT,
            answer_bytes: MODEL_ANSWER_BYTES_MAX,
        }
    }

    fn body(&self, request: &ModelRequest) -> Result<Body> {
        let render = |request: &ModelRequest| match self.provider {
            ModelProvider::OpenAi => openai::request(&self.model, self.exchange.url(), request),
            ModelProvider::Anthropic => anthropic::request(&self.model, request),
        };
        let without_schema = request.answer_schema.as_ref().map(|_| {
            let mut plain = request.clone();
            plain.answer_schema = None;
            render(&plain).map(|body| body.to_string().into_bytes())
        });
        let body = render(request)?.to_string().into_bytes();
        Ok(Body { body, without_schema: without_schema.transpose()? })
    }

    /// Lets the runtime work, and waits for what comes of it.
    fn send(&self, body: Body, cancel: &Cancel) -> Result<Answered> {
        let runtime = self.runtime.as_ref().ok_or_else(Error::cancelled)?;
        let (exchange, cancel) = (Arc::clone(&self.exchange), cancel.clone());
        let (tell, told) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let outcome = unless::cancelled(exchange.run(body), &cancel).await;
            // Whoever asked waits for it.
            let _ = tell.send(outcome);
        });
        told.recv().map_err(|_| Error::model("the request broke off", true))?
    }
}

impl Model for ModelClient {
    fn id(&self) -> &str {
        &self.model
    }

    fn answer(&self, request: &ModelRequest, cancel: &Cancel) -> Result<ModelAnswer> {
        let place = || format!("model {}", self.model);
        if cancel.is_cancelled() {
            return Err(Error::cancelled().context(place()));
        }
        let started = Instant::now();
        let answer = || {
            let answered = self.send(self.body(request)?, cancel)?;
            let answer = match self.provider {
                ModelProvider::OpenAi => openai::answer(&answered.body),
                ModelProvider::Anthropic => anthropic::answer(&answered.body),
            };
            answer.map_err(|reason| self.exchange.unread(&reason, &answered))
        };
        let mut answer = answer().with_context(place)?;
        // It ends in errors, and those hold no key.
        answer.refusal = answer.refusal.map(|words| self.exchange.clean(&words));
        answer.metrics.duration = Some(started.elapsed().as_secs_f64());
        Ok(answer)
    }
}

impl Drop for ModelClient {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which a thread of another runtime may
        // not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for ModelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelClient")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("url", &self.exchange.url().as_str())
            .finish_non_exhaustive()
    }
}

/// The object that an answer is, unless it says an error instead, as some servers do with a status
/// that says all is well.
fn answered(bytes: &[u8]) -> Result<JsonObject, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "an answer that is no text")?;
    let answer = JsonObject::parse(text).map_err(|error| format!("an answer that is {error}"))?;
    match answer.get("error").map(Json::to_value) {
        None | Some(Value::Null) => Ok(answer),
        Some(error) => {
            let words = error.get("message").unwrap_or(&error);
            Err(words.as_str().map_or_else(|| words.to_string(), str::to_owned))
        }
    }
}

/// An answer that was cut off, if it can be used: what a tool is called with is either whole or of
/// no use, and it may read as if it were whole.
fn cut_off(answer: ModelAnswer) -> Result<ModelAnswer, String> {
    if answer.message.tool_calls.is_empty() {
        return Ok(answer.cut_off());
    }
    Err(String::from("the limit of its tokens cut the answer off in a tool call"))
}

impl ModelClientBuilder {
    /// Where the server is, if not the provider's own: for OpenAI's protocol the address in front
    /// of `/chat/completions`, for Anthropic's the one in front of `/v1/messages`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// The environment variable that holds the key, which must be set then. Otherwise it is
    /// `OPENAI_API_KEY` or `ANTHROPIC_API_KEY`, which a server of one's own can do without.
    pub fn key_variable(mut self, name: impl Into<String>) -> Self {
        self.key_variable = Some(name.into());
        self
    }

    /// The key itself, where it comes from elsewhere.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Secret::new(key);
        self
    }

    /// How long an answer may take as a whole, whatever is sent again and waited for in between:
    /// two minutes unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a request is sent again where the server is busy or out of reach: three times
    /// unless said otherwise, at most
    /// [`limits::MODEL_RETRIES_MAX`](crate::limits::MODEL_RETRIES_MAX).
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries.min(MODEL_RETRIES_MAX);
        self
    }

    /// How long to wait before a request is sent again, where the server does not say: half a
    /// second unless said otherwise. It doubles each time, and up to a half of it is left to
    /// chance, so that many who were refused together do not come back together.
    pub fn backoff(mut self, wait: Duration) -> Self {
        self.backoff = wait;
        self
    }

    /// Bytes of an answer at most.
    pub fn answer_bytes(mut self, bytes: usize) -> Self {
        self.answer_bytes = bytes;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for an address that is none, or where
    /// the key is missing.
    pub fn build(self) -> Result<ModelClient> {
        if self.model.trim().is_empty() {
            return Err(Error::invalid("a model without a name"));
        }
        let key = self.find_key()?;
        let url = self.url()?;
        let retries = Retries { count: self.retries, backoff: self.backoff };
        let exchange = Exchange::new(self.provider, url, key, retries)?
            .timeout(self.timeout)
            .answer_bytes(self.answer_bytes);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sessionlog-model")
            .enable_all()
            .build()
            .map_err(Error::io)?;
        let (model, provider) = (self.model, self.provider);
        Ok(ModelClient { model, provider, exchange: Arc::new(exchange), runtime: Some(runtime) })
    }

    fn find_key(&self) -> Result<Option<Secret>> {
        if self.key.is_some() {
            return Ok(self.key.clone());
        }
        let variable = self.key_variable.as_deref().unwrap_or(self.provider.key_variable());
        let key = std::env::var(variable).ok().and_then(|key| Secret::new(&key));
        if key.is_none() && (self.key_variable.is_some() || self.base_url.is_none()) {
            return Err(Error::invalid(format!(
                "no key for the model: set the environment variable {variable}"
            )));
        }
        Ok(key)
    }

    fn url(&self) -> Result<Url> {
        let base = self.base_url.as_deref().unwrap_or(self.provider.base_url());
        // It may hold a password, so it is not said back.
        let no_url = || Error::invalid("a model's base URL reads like https://host:port/path");
        let mut url = Url::parse(base).map_err(|_| no_url())?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(no_url());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::invalid("a key goes into the environment, not into a base URL"));
        }
        let path = url.path().trim_end_matches('/');
        let path = match self.provider {
            ModelProvider::OpenAi => format!("{path}/chat/completions"),
            ModelProvider::Anthropic => format!("{}/v1/messages", path.trim_end_matches("/v1")),
        };
        url.set_path(&path);
        Ok(url)
    }
}
