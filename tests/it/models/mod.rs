//! The client of language models, against a server that speaks their protocols.

mod answers;
mod failures;

use std::time::Duration;

use sessionlog::{
    Cancel, Message, Model, ModelAnswer, ModelClient, ModelClientBuilder, ModelProvider,
    ModelRequest, Result,
};

use crate::support::model_server::ModelServer;

const KEY: &str = "sk-very-secret";

fn builder(server: &ModelServer, provider: ModelProvider) -> ModelClientBuilder {
    ModelClient::builder(provider, "m-1")
        .base_url(server.url())
        .key(KEY)
        .backoff(Duration::from_millis(1))
        .timeout(Duration::from_secs(60))
}

fn openai(server: &ModelServer) -> ModelClient {
    builder(server, ModelProvider::OpenAi).build().unwrap()
}

fn anthropic(server: &ModelServer) -> ModelClient {
    builder(server, ModelProvider::Anthropic).build().unwrap()
}

fn ask(model: &ModelClient) -> Result<ModelAnswer> {
    model.answer(&ModelRequest::new([Message::user("Hello")]), &Cancel::never())
}
