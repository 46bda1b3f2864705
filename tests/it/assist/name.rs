//! Generated names: what they are made of, whom they give way to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use sessionlog::{
    Access, Cancel, Engine, Error, ErrorKind, Message, Metrics, Naming, Point, Session, limits,
};

use crate::support::record_turn;
use crate::support::scripted::{Scripted, answer};

fn session() -> Session {
    let session = Engine::in_memory().unwrap().session("s1").open().unwrap();
    record_turn(&session, "Where is my parcel from Oslo?", "On its way.");
    session
}

fn name(session: &Session) -> Option<String> {
    session.name().unwrap()
}

#[test]
fn a_name_has_five_words_at_most_and_says_that_it_was_generated() {
    let session = session();
    let model = Scripted::saying(&["Title: \"Lost Parcel\"."]);
    let named = session.name_generator(model.clone()).run().unwrap();
    let seq = session.seq().unwrap();
    let metrics = Metrics::tokens(100, 10);
    let wanted = Naming::Named { name: "Lost Parcel".into(), seq, is_by_model: true, metrics };
    assert_eq!(named, wanted);
    let view = session.view().unwrap();
    assert_eq!((view.name.as_deref(), view.is_name_generated), (Some("Lost Parcel"), true));
    assert!(model.prompts()[0].contains("User: Where is my parcel from Oslo?\nAssistant: On its"));
    // One that is too long is asked for again, and cut in the end.
    let wordy = Scripted::saying(&["One two three four five six seven"]);
    session.name_generator(wordy.clone()).run().unwrap();
    assert_eq!(name(&session).as_deref(), Some("One two three four five"));
    assert_eq!(wordy.calls(), limits::ANSWER_TRIES_MAX);
}

#[test]
fn without_a_name_the_users_first_words_stand_for_it() {
    let session = session();
    let mute = Scripted::saying(&["\"\"", " ", "***"]);
    let named = session.name_generator(mute.clone()).run().unwrap();
    assert!(matches!(named, Naming::Named { is_by_model: false, .. }), "{named:?}");
    assert_eq!(name(&session).as_deref(), Some("Where is my parcel from"));
    assert_eq!(mute.calls(), limits::ANSWER_TRIES_MAX);
}

#[test]
fn a_model_that_thinks_aloud_is_taken_by_what_it_answers() {
    let session = session();
    let model = Scripted::saying(&["<think>\nTitle: Some Draft\n</think>\n\nLost Parcel"]);
    session.name_generator(model).run().unwrap();
    assert_eq!(name(&session).as_deref(), Some("Lost Parcel"));
}

#[test]
fn a_model_is_told_what_was_wrong_with_its_last_answer() {
    let session = session();
    let model = Scripted::saying(&["I'm sorry, but I can't.", "A B C D E F", "Lost Parcel"]);
    session.name_generator(model.clone()).run().unwrap();
    assert_eq!((name(&session).as_deref(), model.calls()), (Some("Lost Parcel"), 3));
    let requests = model.requests();
    let counts: Vec<usize> = requests.iter().map(|request| request.messages.len()).collect();
    assert_eq!(counts, [2, 3, 3]);
    let prompts = model.prompts();
    assert!(
        prompts[1].contains("no name") && prompts[2].contains("\"A B C D E F\""),
        "{prompts:?}"
    );
}

#[test]
fn what_stands_for_a_name_is_words_of_the_user_wherever_they_are() {
    let mute = || Scripted::saying(&["I cannot help with that."]);
    let image = serde_json::json!({"type": "image_url", "image_url": {"url": "https://a/b.png"}});
    let image = || Message::user("").with_part(sessionlog::Part::Json(image.clone().into()));
    let code = Message::user("```rust\nfn main() {}\n```");
    for (messages, wanted) in [
        (vec![image(), Message::assistant("A cat."), Message::user("Name it")], "Name it"),
        (vec![image(), Message::assistant("A cat.")], "A cat"),
        (vec![image()], "New Session"),
        (vec![code], "fn main() {}"),
        (vec![Message::user("<file>\nhello\n</file>")], "hello"),
    ] {
        let session = Engine::in_memory().unwrap().session("s1").open().unwrap();
        session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
        let model = mute();
        let named = session.name_generator(model.clone()).run().unwrap();
        assert!(matches!(named, Naming::Named { is_by_model: false, .. }), "{named:?}");
        assert_eq!(name(&session).as_deref(), Some(wanted));
        assert_eq!(model.calls(), limits::ANSWER_TRIES_MAX);
    }
    // The model is told that there is an image.
    let session = Engine::in_memory().unwrap().session("s1").open().unwrap();
    session.record_run([image()], Metrics::default()).unwrap().wait().unwrap();
    let model = Scripted::saying(&["A Cat"]);
    session.name_generator(model.clone()).run().unwrap();
    assert!(model.prompts()[0].contains("\nUser: [Provided 1 image]\n"), "{:?}", model.prompts());
}

#[test]
fn a_name_that_was_cut_off_is_asked_for_again() {
    let session = session();
    let model = Scripted::new(|number, _, _| {
        Ok(if number == 0 { answer("Lost Par").cut_off() } else { answer("Lost Parcel") })
    });
    session.name_generator(model.clone()).run().unwrap();
    assert_eq!((name(&session).as_deref(), model.calls()), (Some("Lost Parcel"), 2));
}

#[test]
fn a_model_that_cannot_be_asked_leaves_the_name_as_it_was() {
    let session = session();
    let seq = session.seq().unwrap();
    let down = Scripted::new(|_, _, _| Err(Error::model("down", true)));
    assert!(session.name_generator(down).run().unwrap_err().is_retryable());
    assert_eq!((name(&session), session.seq().unwrap()), (None, seq));
}

#[test]
fn a_name_that_was_given_by_hand_stays_unless_it_is_asked_for() {
    let session = session();
    session.rename("Mine").unwrap().wait().unwrap();
    let model = Scripted::saying(&["Other"]);
    let kept = session.name_generator(model.clone()).run().unwrap();
    assert_eq!((kept, model.calls()), (Naming::Kept { name: "Mine".into() }, 0));
    session.name_generator(model).replace_given(true).run().unwrap();
    assert_eq!(name(&session).as_deref(), Some("Other"));
    // Given while the model thinks, it stays too.
    let rival = session.clone();
    let late = Scripted::new(move |_, _, _| {
        rival.rename("By hand").unwrap().wait().unwrap();
        Ok(answer("Late"))
    });
    let kept = session.name_generator(late).run().unwrap();
    assert_eq!(kept, Naming::Kept { name: "By hand".into() });
    assert_eq!(name(&session).as_deref(), Some("By hand"));
}

#[test]
fn a_session_that_went_back_or_was_erased_meanwhile_is_named_anew() {
    let session = session();
    record_turn(&session, "SECOND", "answer");
    let other = session.clone();
    let model = Scripted::new(move |number, _, _| {
        match number {
            0 => drop(other.rewind(Point::run(1)).unwrap().wait().unwrap()),
            1 => drop(other.erase_message(3, None).unwrap()),
            _ => {}
        }
        Ok(answer(&format!("Name {number}")))
    });
    session.name_generator(model.clone()).run().unwrap();
    assert_eq!(name(&session).as_deref(), Some("Name 2"));
    let prompts = model.prompts();
    assert!(prompts[0].contains("SECOND") && !prompts[1].contains("SECOND"));
    assert!(prompts[1].contains("parcel") && !prompts[2].contains("parcel"));
}

#[test]
fn only_the_beginning_is_shown_however_long_the_session_is() {
    let session = Engine::in_memory().unwrap().session("s1").open().unwrap();
    let model = Scripted::saying(&["A Name"]);
    assert_eq!(session.name_generator(model.clone()).run().unwrap(), Naming::Nothing);
    let run = session.start_run().unwrap();
    run.push(Message::user(format!("first {}", "x".repeat(50_000)))).unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    for number in 2..30 {
        record_turn(&session, &format!("question {number}."), "answer");
    }
    session.name_generator(model.clone()).run().unwrap();
    let prompt = &model.prompts()[0];
    assert!(prompt.contains("first ") && prompt.contains("question 3."), "{prompt}");
    assert!(!prompt.contains("question 4.") && prompt.len() < 3_000, "{}", prompt.len());
    session.name_generator(model.clone()).runs(20).run().unwrap();
    let shown = model.prompts()[1].matches("\nUser: ").count();
    assert!(shown <= limits::NAME_MESSAGES_MAX, "{shown}");
}

/// Sessions `a` to `h` of two users, of which `b` is named by hand and `c` by a model.
fn many() -> Engine {
    let engine = Engine::in_memory().unwrap();
    for (at, id) in ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().enumerate() {
        let user = if at % 2 == 0 { "alice" } else { "bob" };
        let session = engine.session(id).user(user).open().unwrap();
        record_turn(&session, &format!("About {id}"), "answer");
        match id {
            "b" => drop(session.rename("Mine").unwrap().wait().unwrap()),
            "c" => {
                session.name_generator(Scripted::saying(&["Generated"])).run().unwrap();
            }
            _ => {}
        }
    }
    engine
}

fn names(engine: &Engine) -> BTreeMap<String, Option<String>> {
    let page = engine.sessions(&sessionlog::SessionQuery::new(Access::Admin)).unwrap();
    page.sessions.into_iter().map(|view| (view.session_id, view.name)).collect()
}

#[test]
fn many_are_named_at_once_and_never_more_than_asked_for() {
    let engine = many();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (here, there) = (Arc::clone(&now), Arc::clone(&most));
    // Three meet, so that three are asked at a time, and six sessions have no name.
    let barrier = Barrier::new(3);
    let model = Scripted::new(move |_, request, _| {
        there.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        barrier.wait();
        here.fetch_sub(1, Ordering::SeqCst);
        let asked = request.messages[1].content.text();
        if asked.contains("About d") {
            return Err(Error::model("down", false));
        }
        Ok(answer("A Name"))
    });
    let mut outcomes = BTreeMap::new();
    let batch = engine.name_batch(Access::Admin, model.clone()).jobs(3);
    batch.run(&mut |id, outcome| drop(outcomes.insert(id.to_owned(), outcome))).unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(
        outcomes.keys().map(String::as_str).collect::<Vec<_>>(),
        ["a", "d", "e", "f", "g", "h"]
    );
    assert!(outcomes["d"].is_err() && outcomes["a"].is_ok());
    let names = names(&engine);
    assert_eq!((names["b"].as_deref(), names["c"].as_deref()), (Some("Mine"), Some("Generated")));
    assert_eq!((names["d"].as_deref(), names["h"].as_deref()), (None, Some("A Name")));
}

#[test]
fn a_users_batch_names_that_users_sessions_only() {
    let engine = many();
    let model = Scripted::saying(&["A Name"]);
    let batch = engine.name_batch(Access::User("alice".into()), model).replace_generated(true);
    assert_eq!(batch.session_ids().unwrap(), ["a", "c", "e", "g"]);
    batch.run(&mut |_, outcome| drop(outcome.unwrap())).unwrap();
    let names = names(&engine);
    assert_eq!((names["c"].as_deref(), names["f"].as_deref()), (Some("A Name"), None));
}

#[test]
fn a_batch_that_is_cancelled_leaves_the_rest_without_names() {
    let engine = many();
    let cancel = Cancel::new();
    let word = cancel.clone();
    let model = Scripted::new(move |number, _, cancel| {
        if number == 1 {
            word.cancel();
        }
        if cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(answer("A Name")) }
    });
    let batch = engine.name_batch(Access::Admin, model).jobs(1).cancel(cancel);
    let mut told = 0;
    let error = batch.run(&mut |_, _| told += 1).unwrap_err();
    assert_eq!((error.kind(), told), (&ErrorKind::Cancelled, 2));
    assert_eq!(names(&engine).values().filter(|name| name.as_deref() == Some("A Name")).count(), 1);
}

#[test]
fn a_batch_ends_where_so_many_in_a_row_found_the_model_down() {
    // Six have no name. One at a time, an answer after two failures begins the count anew.
    for (fails, calls, told) in
        [([0, 1, 2, 3, 4, 5], 3, 2), ([0, 1, 3, 4, 5, 6], 6, 5), ([0, 1, 3, 4, 6, 7], 6, 6)]
    {
        let engine = many();
        let model = Scripted::new(move |number, _, _| {
            let is_down = fails.contains(&number);
            if is_down { Err(Error::model("busy", true)) } else { Ok(answer("A Name")) }
        });
        let mut outcomes = Vec::new();
        let batch = engine.name_batch(Access::Admin, model.clone()).jobs(1);
        let ended = batch.run(&mut |_, outcome| outcomes.push(outcome.is_ok()));
        assert_eq!((model.calls(), outcomes.len()), (calls, told), "{fails:?}");
        assert_eq!(ended.is_ok(), told == 6);
        if let Err(error) = ended {
            assert!(error.is_model_unavailable() && error.is_retryable(), "{error}");
            assert!(error.to_string().contains("busy (3 failed like this"), "{error}");
        }
    }
    // Many at a time see the same.
    let engine = many();
    let down = Scripted::new(|_, _, _| Err(Error::model("busy", true)));
    let ended = engine.name_batch(Access::Admin, down).jobs(3).run(&mut |_, _| ());
    assert!(ended.unwrap_err().is_model_unavailable());
}

#[test]
fn a_batch_ends_where_the_model_cannot_be_asked_at_all() {
    let engine = many();
    let model = Scripted::new(|number, _, _| match number {
        1 => Err(Error::model("no answer to this one", false)),
        3 => Err(Error::model_unavailable("the key is refused", false)),
        _ => Ok(answer("A Name")),
    });
    let mut told = Vec::new();
    let batch = engine.name_batch(Access::Admin, model.clone()).jobs(1);
    let ids = batch.session_ids().unwrap();
    let ended = batch.run_for(ids, &mut |id, outcome| told.push((id.to_owned(), outcome.is_ok())));
    let error = ended.unwrap_err();
    assert!(error.is_model_unavailable() && error.to_string().contains("the key is refused"));
    let told: Vec<_> = told.iter().map(|(id, is_named)| (id.as_str(), *is_named)).collect();
    assert_eq!((told, model.calls()), (vec![("a", true), ("d", false), ("e", true)], 4));
    assert_eq!(names(&engine).values().filter(|name| name.as_deref() == Some("A Name")).count(), 2);
}
