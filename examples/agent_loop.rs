//! How do I write an agent that remembers: its turns, its tools, and what each call was given?

use sessionlog::{Cancel, Engine, Message, Metrics, Model, Result, Run, Session};

/// Answers what a user says. Every message is in the log as soon as it is there.
pub(crate) fn turn(session: &Session, model: &dyn Model, words: &str) -> Result<String> {
    let run = session.start_run()?;
    run.push(Message::user(words))?;
    let mut spent = Metrics::default();
    match answer(&run, model, &mut spent) {
        Ok(text) => run.complete(spent)?.wait().map(|_| text), // on disk
        Err(error) => run.fail(error.to_string(), spent)?.wait().and(Err(error)),
    }
}

/// Asks the model until it has called all the tools that it wants.
fn answer(run: &Run, model: &dyn Model, spent: &mut Metrics) -> Result<String> {
    let tools = run.session().tools(); // read past sessions, change the state
    for _ in 0..10 {
        let context = run.context().instructions("Be helpful.").tools(&tools.definitions());
        let context = context.token_budget(16_000).history_after_summary(true);
        let context = context.add_memories_to_context(true).build()?;
        context.record(run)?; // what this call is given, to be looked up later
        let answer = model.answer(&context.request(), &Cancel::never())?;
        spent.add(&answer.metrics);
        run.push(answer.message.clone())?;
        if answer.message.tool_calls.is_empty() {
            return Ok(answer.message.content.text());
        }
        for call in &answer.message.tool_calls {
            let unknown = || Message::tool(call.id.clone().unwrap_or_default(), "no such tool");
            run.push(tools.answer(call)?.unwrap_or_else(unknown))?;
        }
    }
    Err(sessionlog::Error::model("the model went on calling tools", false))
}

#[expect(clippy::print_stdout, reason = "an example shows something")]
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    use sessionlog::{ModelClient, ModelProvider};

    let directory = std::env::temp_dir().join("sessionlog-agent.db");
    let engine = Engine::open(&directory)?;
    let session = engine.session("chat-1").user("alice").open()?;
    // Any server that speaks OpenAI's protocol; the key is that of OPENAI_API_KEY.
    let url = std::env::var("OPENAI_BASE_URL").unwrap_or("https://api.openai.com/v1".into());
    let model = ModelClient::builder(ModelProvider::OpenAi, "gpt-4o-mini").base_url(url).build()?;
    for line in std::io::stdin().lines() {
        println!("{}", turn(&session, &model, &line?)?);
    }
    Ok(())
}
