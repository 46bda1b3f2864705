//! Search: what is found, in which order, and what is never shown.

mod disk;
mod model;

use sessionlog::{
    Access, Engine, ErrorKind, Message, Metrics, Point, Role, SearchHit, SearchKind, SearchQuery,
    Session, SummaryWritten, limits,
};

use crate::support::{engine_at, record_turn};

fn user(name: &str) -> Access {
    Access::User(name.to_owned())
}

/// The hits of a search, as session and seq.
fn places(engine: &Engine, query: &SearchQuery) -> Vec<(String, u64)> {
    let hits = engine.search(query).unwrap().hits;
    hits.into_iter().map(|hit| (hit.session_id, hit.seq)).collect()
}

fn sessions_with(engine: &Engine, access: Access, words: &str) -> Vec<String> {
    places(engine, &SearchQuery::new(access, words)).into_iter().map(|(id, _)| id).collect()
}

fn summary(text: &str) -> SummaryWritten {
    SummaryWritten {
        summary: text.to_owned(),
        topics: vec![String::from("shipping")],
        first_seq: 1,
        last_seq: 2,
        model: None,
        metrics: None,
    }
}

fn only_hit(session: &Session, words: &str) -> SearchHit {
    let mut hits = session.search(words).unwrap().hits;
    assert_eq!(hits.len(), 1, "{words}");
    hits.remove(0)
}

#[test]
fn messages_names_and_the_summary_that_holds_are_found() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").user("alice").open().unwrap();
    record_turn(&session, "Where is my parcel?", "In Oslo.");
    session.rename("Lost parcel").unwrap();
    session.write_summary(summary("A parcel to Oslo is late.")).unwrap();
    let page = session.search("parcel").unwrap();
    let mut kinds: Vec<SearchKind> = page.hits.iter().map(|hit| hit.kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, SearchKind::ALL);
    let hit = only_hit(&session, "where");
    assert_eq!((hit.seq, hit.kind, hit.role), (3, SearchKind::Message, Some("user")));
    assert_eq!(&hit.snippet[hit.matches[0].clone()], "Where");
    let run_id = hit.run_id.clone().unwrap();
    assert!(session.at(Point::run_id(run_id)).is_ok());
    assert_eq!(session.at(hit.point()).unwrap().view().message_count, 1);
    assert_eq!(only_hit(&session, "shipping").kind, SearchKind::Summary);
    // An earlier name and an earlier summary do not hold.
    session.rename("Found").unwrap();
    session.write_summary(summary("It came.")).unwrap();
    assert!(session.search("lost").unwrap().hits.is_empty());
    assert!(session.search("late").unwrap().hits.is_empty());
    session.withdraw_summary(session.summary().unwrap().unwrap().seq).unwrap();
    assert_eq!(only_hit(&session, "late").kind, SearchKind::Summary);
}

#[test]
fn what_tools_say_instructions_and_copies_are_not_searched() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    let mut copy = Message::user("needle");
    copy.from_history = true;
    let messages = [
        Message::system("needle"),
        copy,
        Message::assistant("Let me look.").with_call("c1", "find", "{\"word\":\"needle\"}"),
        Message::tool("c1", "needle"),
    ];
    session.record_run(messages, Metrics::default()).unwrap();
    assert!(session.search("needle").unwrap().hits.is_empty());
    assert_eq!(session.search("look").unwrap().hits.len(), 1);
}

#[test]
fn nobody_finds_what_is_anothers() {
    let engine = Engine::in_memory().unwrap();
    for (id, owner) in [("a", Some("alice")), ("b", Some("bob")), ("n", None)] {
        let builder = engine.session(id);
        let builder = if let Some(owner) = owner { builder.user(owner) } else { builder };
        record_turn(&builder.open().unwrap(), "our secret word", "noted");
    }
    for words in ["secret", "\"our secret\"", "s*", "word -other", "secret \u{1f600}*"] {
        for (access, id) in [(user("alice"), "a"), (user("bob"), "b"), (Access::Nobody, "n")] {
            let found = sessions_with(&engine, access.clone(), words);
            assert!(found.iter().all(|found| found == id), "{access:?} {words}");
            let named = SearchQuery::new(access.clone(), words).sessions([id]);
            assert!(places(&engine, &named).iter().all(|(found, _)| found == id));
            let others = SearchQuery::new(access, words).sessions(["a", "b", "n"]);
            let error = engine.search(&others).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
        }
    }
    assert_eq!(sessions_with(&engine, user("carol"), "secret"), [""; 0]);
    let mut all = sessions_with(&engine, Access::Admin, "secret");
    all.sort_unstable();
    assert_eq!(all, ["a", "b", "n"]);
    let others = SearchQuery::new(user("alice"), "secret").user("bob");
    assert!(matches!(engine.search(&others).unwrap_err().kind(), ErrorKind::Forbidden));
    let one = SearchQuery::new(Access::Admin, "secret").user("bob");
    assert_eq!(places(&engine, &one), [(String::from("b"), 3)]);
}

#[test]
fn what_others_say_changes_no_score() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("mine").user("alice").open().unwrap();
    record_turn(&session, "green tea", "black tea, or coffee");
    let query = SearchQuery::new(user("alice"), "tea");
    let before = engine.search(&query).unwrap();
    for number in 0..30 {
        let other = engine.session(format!("other-{number}")).user("bob").open().unwrap();
        record_turn(&other, &"tea ".repeat(number), "tea");
    }
    assert_eq!(engine.search(&query).unwrap(), before);
}

#[test]
fn many_hits_of_others_do_not_push_out_ones_own() {
    let engine = Engine::in_memory().unwrap();
    record_turn(&engine.session("mine").user("alice").open().unwrap(), "a tea long ago", "yes");
    for number in 0..80 {
        let other = engine.session(format!("other-{number}")).user("bob").open().unwrap();
        record_turn(&other, "tea", "tea");
    }
    assert_eq!(sessions_with(&engine, user("alice"), "tea"), ["mine"]);
}

#[test]
fn a_session_that_is_given_away_goes_with_what_was_said() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").user("alice").open().unwrap();
    record_turn(&session, "green tea", "yes");
    assert_eq!(sessions_with(&engine, user("alice"), "tea"), ["s1"]);
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    assert_eq!(sessions_with(&engine, user("alice"), "tea"), [""; 0]);
    assert_eq!(sessions_with(&engine, user("bob"), "tea"), ["s1"]);
}

#[test]
fn what_a_rewind_left_behind_is_found_no_more_and_again_when_gone_back_to() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, "green tea", "yes");
    record_turn(&session, "black coffee", "yes");
    let head = session.seq().unwrap();
    session.rewind(Point::run(1)).unwrap();
    assert!(session.search("coffee").unwrap().hits.is_empty());
    assert_eq!(session.search("tea").unwrap().hits.len(), 1);
    session.rewind(Point::seq(head)).unwrap();
    assert_eq!(session.search("coffee").unwrap().hits.len(), 1);
}

#[test]
fn a_shared_message_is_told_once_where_it_was_said_if_that_may_be_read() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("parent").user("alice").open().unwrap();
    record_turn(&session, "green tea", "yes");
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    record_turn(&fork, "black tea", "yes");
    assert_eq!(fork.search("green").unwrap().hits[0].session_id, "fork");
    let mut all = sessions_with(&engine, user("alice"), "tea");
    all.sort_unstable();
    assert_eq!(all, ["fork", "parent"]);
    fork.change_owner(Some("bob")).unwrap().wait().unwrap();
    assert_eq!(sessions_with(&engine, user("bob"), "green"), ["fork"]);
    assert_eq!(sessions_with(&engine, user("alice"), "green"), ["parent"]);
    session.rewind(Point::seq(1)).unwrap();
    assert_eq!(sessions_with(&engine, user("alice"), "green"), [""; 0]);
    assert_eq!(sessions_with(&engine, Access::Admin, "green"), ["fork"]);
    session.delete(None).unwrap();
    assert_eq!(sessions_with(&engine, user("bob"), "green"), ["fork"]);
}

#[test]
fn any_part_of_an_unspaced_text_and_every_emoji_is_found() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    let texts = [
        "東京都に住んでいます",
        "서울에서 만나요",
        "ラーメンが好き",
        "ok 👩‍👩‍👧 and 🇩🇪🇫🇷 v2東京",
        "กรุงเทพ",
    ];
    for text in texts {
        record_turn(&session, text, "…");
    }
    let found = |words: &str| session.search(words).unwrap().hits.len();
    for words in ["京都", "住んで", "울에", "ーメン", "👩‍👩‍👧", "🇫🇷", "v2東", "กรุง", "กร", "ุงเ", "ｖ２"]
    {
        assert_eq!(found(words), 1, "{words}");
    }
    assert_eq!(
        (found("東京"), found("京"), found("都京"), found("👩"), found("🇪🇫")),
        (2, 2, 0, 0, 0)
    );
    assert_eq!(session.search("CAFÉ").unwrap().hits.len(), 0);
    record_turn(&session, "Cafe\u{301} crème", "…");
    let hit = only_hit(&session, "CAFÉ creme");
    assert_eq!(&hit.snippet[hit.matches[0].clone()], "Cafe\u{301}");
    // A part of a character is shown as the whole of it.
    let hit = only_hit(&session, "กร");
    assert_eq!(&hit.snippet[hit.matches[0].clone()], "กรุ");
}

#[test]
fn what_people_leave_out_when_they_search_makes_no_difference() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    for (said, asked) in [
        ("Große Straße 7", "STRASSE"),
        ("قَرَأَ كِتَابًا", "كتابا"),
        ("שָׁלוֹם עולם", "שלום"),
        ("an extra\u{ad}ordinary day", "extraordinary"),
        ("zero\u{200b}width", "ZEROWIDTH"),
        ("word\u{2060}joiner", "wordjoin*"),
        ("نمی\u{200c}دانم", "نمیدانم"),
    ] {
        record_turn(&session, said, "…");
        only_hit(&session, asked);
        // And the other way round.
        only_hit(&session, said);
    }
}

#[test]
fn an_emoji_is_found_whatever_its_skin_and_shown_whole() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    for text in ["fine 👍", "good👍🏽, thanks", "shrug 🤷🏿‍♀️", "❤️ it"] {
        record_turn(&session, text, "…");
    }
    let shown = |words: &str| -> Vec<String> {
        let hits = session.search(words).unwrap().hits;
        hits.iter().map(|hit| hit.snippet[hit.matches[0].clone()].to_owned()).collect()
    };
    for words in ["👍", "👍🏿", "👍\u{fe0f}"] {
        let mut found = shown(words);
        found.sort_unstable();
        assert_eq!(found, ["👍", "👍🏽"], "{words}");
    }
    assert_eq!(shown("🤷"), ["🤷🏿‍♀️"]);
    assert_eq!(shown("🤷🏻‍♂️"), ["🤷🏿‍♀️"]);
    assert_eq!(shown("❤"), ["❤️"]);
    assert_eq!(shown("\"good 👍 thanks\""), ["good👍🏽, thanks"]);
    assert_eq!(shown("👎"), [""; 0]);
}

#[test]
fn filters_narrow_what_is_searched() {
    let (engine, clock) = engine_at(1_000_000);
    for number in 1..=5_i64 {
        clock.set(number * 1_000_000);
        let session = engine.session(format!("s{number}")).user("alice").open().unwrap();
        record_turn(&session, "tea", "more tea");
        session.rename("tea").unwrap().wait().unwrap();
    }
    let query = || SearchQuery::new(user("alice"), "tea").limit(100);
    let count = |query: SearchQuery| engine.search(&query).unwrap().hits.len();
    assert_eq!(count(query()), 15);
    assert_eq!(count(query().roles([Role::User])), 5);
    assert_eq!(count(query().roles([Role::Tool])), 0);
    assert_eq!(count(query().kinds([SearchKind::Name])), 5);
    assert_eq!(count(query().kinds([SearchKind::Message, SearchKind::Summary])), 10);
    assert_eq!(count(query().sessions(["s1", "s2"])), 6);
    assert_eq!(count(query().sessions([""; 0])), 0);
    assert_eq!(count(query().num_history_sessions(2)), 6);
    assert_eq!(count(query().num_history_sessions(2).sessions(["s1", "s5"])), 3);
    assert_eq!(count(query().since(4_000_000)), 6);
    assert_eq!(count(query().since(2_000_000).until(3_000_000)), 6);
    let page = engine.search(&query().limit(14)).unwrap();
    assert_eq!((page.hits.len(), page.has_more), (14, true));
    let page = engine.search(&query().limit(0)).unwrap();
    assert_eq!((page.hits.len(), page.has_more), (0, true));
}

#[test]
fn the_best_hit_comes_first_and_of_equal_ones_the_newest() {
    let (engine, clock) = engine_at(1_000_000);
    let session = engine.session("s1").open().unwrap();
    for number in 1..=3 {
        clock.set(number * 1_000_000);
        record_turn(&session, "some tea for you", "yes");
    }
    record_turn(&session, "tea tea tea", "yes");
    let times: Vec<i64> =
        session.search("tea").unwrap().hits.iter().map(|hit| hit.recorded_at_us).collect();
    assert_eq!(times, [3_000_000, 3_000_000, 2_000_000, 1_000_000]);
    let best = &session.search("tea").unwrap().hits[0];
    assert_eq!(best.snippet, "tea tea tea");
}

#[test]
fn odd_queries_are_answered_and_empty_ones_refused() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, "a b\"c (d) OR e:f ^g~2 [h TO i] \\ 東 👍", "yes");
    for words in
        ["a", "\"a", "b\"c", "(d)", "e:f", "^g~2", "[h TO i]", "a*\\", "\\*東", "👍*", "\"e f\" g"]
    {
        assert_eq!(session.search(words).unwrap().hits.len(), 1, "{words}");
    }
    for words in ["", " ", "\"", "-a", "* - \" \"", "\u{0}", "…"] {
        let error = session.search(words).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{words:?}");
    }
    let long = "x".repeat(limits::SEARCH_QUERY_BYTES_MAX + 1);
    assert!(matches!(session.search(long).unwrap_err().kind(), ErrorKind::Limit { .. }));
    let query = SearchQuery::new(Access::Admin, "a").limit(limits::SEARCH_HITS_MAX + 1);
    assert!(matches!(engine.search(&query).unwrap_err().kind(), ErrorKind::Limit { .. }));
}

#[test]
fn a_session_that_is_not_there_or_anothers_is_not_found() {
    let engine = Engine::in_memory().unwrap();
    for (id, owner) in [("mine", "alice"), ("gone", "alice"), ("bobs", "bob")] {
        record_turn(&engine.session(id).user(owner).open().unwrap(), "tea", "yes");
    }
    engine.session("gone").user("alice").open_existing().unwrap().delete(None).unwrap();
    let refused = |access: Access, ids: &[&str]| {
        let error = engine.search(&SearchQuery::new(access, "tea").sessions(ids.to_vec()));
        error.unwrap_err().to_string()
    };
    for id in ["nope", "gone", "bobs"] {
        let words = format!("session {id}: no such session");
        assert_eq!(refused(user("alice"), &[id]), words);
        assert_eq!(refused(user("alice"), &["mine", id]), words);
        assert_eq!(refused(Access::Nobody, &[id]), words);
    }
    assert_eq!(refused(Access::Admin, &["mine", "nope"]), "session nope: no such session");
    let both = SearchQuery::new(Access::Admin, "tea").sessions(["mine", "bobs"]);
    assert_eq!(places(&engine, &both).len(), 2);
}

#[test]
fn a_search_within_a_session_is_refused_where_the_session_is() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").user("alice").open().unwrap();
    session.change_owner(Some("bob")).unwrap();
    assert!(matches!(session.search("tea").unwrap_err().kind(), ErrorKind::Forbidden));
}
