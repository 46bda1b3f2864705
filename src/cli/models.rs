//! The language model that a command asks.

use std::sync::Arc;
#[cfg(feature = "models")]
use std::time::Duration;

use sessionlog::Model;
#[cfg(feature = "models")]
use sessionlog::{ModelClient, ModelProvider};

use super::args::ModelArgs;
#[cfg(not(feature = "models"))]
use super::failure::Failure;
use super::failure::Result;

/// The model that the options name. Nothing is sent yet.
#[cfg(feature = "models")]
pub(super) fn connect(args: &ModelArgs) -> Result<Arc<dyn Model>> {
    let provider: ModelProvider = args.provider.parse()?;
    let model = args.model.as_deref().unwrap_or_default();
    let mut builder = ModelClient::builder(provider, model);
    if let Some(url) = &args.base_url {
        builder = builder.base_url(url);
    }
    if let Some(variable) = &args.api_key_env {
        builder = builder.key_variable(variable);
    }
    Ok(Arc::new(builder.timeout(Duration::from_secs(args.timeout)).build()?))
}

#[cfg(not(feature = "models"))]
pub(super) fn connect(_args: &ModelArgs) -> Result<Arc<dyn Model>> {
    Err(Failure::words(
        "this program was built without language models: `cargo install --path . --features models` \
         builds it with them",
    ))
}
