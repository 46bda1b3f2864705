//! Any JSON lines as messages: each comes back equal, and together they are legal to send.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionlog::{
    JsonObject, Message, check_anthropic, check_openai, legalize, to_anthropic, to_openai,
};

fuzz_target!(|text: &str| {
    let mut messages = Vec::new();
    for line in text.lines() {
        let Ok(message) = Message::from_json(line) else { continue };
        let before = JsonObject::parse(line).expect("it was read").to_json().to_value();
        assert_eq!(message.to_json().to_value(), before);
        messages.push(message);
    }
    let (legal, _) = legalize(messages);
    let (again, repairs) = legalize(legal.clone());
    assert!(again == legal && repairs.is_empty());
    check_openai(&to_openai(&legal)).unwrap();
    check_anthropic(&to_anthropic(&legal)).unwrap();
});
