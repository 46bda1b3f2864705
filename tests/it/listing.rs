//! Listing: filters, order, pages, totals.

use proptest::prelude::*;
use serde_json::json;
use sessionlog::{Access, Engine, ErrorKind, SessionQuery, SessionType, SortBy, SortOrder};

use crate::support::{engine_at, record_turn};

fn ids(engine: &Engine, query: &SessionQuery) -> Vec<String> {
    engine.sessions(query).unwrap().sessions.into_iter().map(|view| view.session_id).collect()
}

fn admin() -> SessionQuery {
    SessionQuery::new(Access::Admin)
}

#[test]
fn sessions_are_filtered_sorted_paged_and_counted() {
    let (engine, clock) = engine_at(1_000_000_000);
    for number in 0..30_u64 {
        let user = ["alice", "bob"][number as usize % 2];
        let session = engine.session(format!("s{number:02}")).user(user);
        let session = if number % 3 == 0 { session.team("crew") } else { session.agent("helper") };
        let session = session.open().unwrap();
        if number % 5 == 0 {
            session.rename(format!("Order {number}")).unwrap().wait().unwrap();
        }
        clock.advance(10_000_000);
    }
    assert_eq!(ids(&engine, &admin().limit(3)), ["s29", "s28", "s27"]);
    assert_eq!(engine.sessions(&admin().limit(3)).unwrap().total, 30);
    assert_eq!(ids(&engine, &admin().limit(3).page(10)), ["s02", "s01", "s00"]);
    assert_eq!(ids(&engine, &admin().limit(3).page(11)), [] as [&str; 0]);
    let oldest = admin().limit(2).sort(SortBy::CreatedAt, SortOrder::Ascending);
    assert_eq!(ids(&engine, &oldest), ["s00", "s01"]);
    let bob = SessionQuery::new(Access::User("bob".into())).limit(2);
    assert_eq!(ids(&engine, &bob), ["s29", "s27"]);
    assert_eq!(engine.sessions(&bob).unwrap().total, 15);
    let teams = admin().session_type(SessionType::Team).user("bob");
    assert_eq!(engine.sessions(&teams).unwrap().total, 5);
    assert_eq!(ids(&engine, &admin().component("crew").limit(2)), ["s27", "s24"]);
    assert_eq!(ids(&engine, &admin().name("oRDer 2")), ["s25", "s20"]);
    let range = admin().since(1_000_000_000 + 50_000_000).until(1_000_000_000 + 70_000_000);
    assert_eq!(ids(&engine, &range), ["s07", "s06", "s05"]);
    assert_eq!(engine.sessions(&range).unwrap().total, 3);
}

#[test]
fn a_user_lists_that_users_sessions_only() {
    let engine = Engine::in_memory().unwrap();
    engine.session("a").user("alice").open().unwrap();
    engine.session("n").open().unwrap();
    let error = engine.sessions(&SessionQuery::new(Access::User("bob".into())).user("alice"));
    assert_eq!(error.unwrap_err().kind(), &ErrorKind::Forbidden);
    assert_eq!(ids(&engine, &SessionQuery::new(Access::Nobody)), ["n"]);
    assert_eq!(ids(&engine, &admin().user("alice")), ["a"]);
    assert!(engine.sessions(&admin().page(0)).is_err());
    assert!(engine.sessions(&admin().limit(1_000_000)).is_err());
}

#[test]
fn a_listed_session_is_as_it_is_now() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").state(json!({"n": 1})).open().unwrap();
    for _ in 0..100 {
        record_turn(&session, "q", "a");
    }
    session.merge_state(json!({"n": 2})).unwrap().wait().unwrap();
    let listed = engine.sessions(&admin()).unwrap().sessions.remove(0);
    assert_eq!(listed, session.view().unwrap());
}

#[test]
fn a_session_that_changes_hands_moves_to_the_other_list() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    let of =
        |user: &str| engine.sessions(&SessionQuery::new(Access::User(user.into()))).unwrap().total;
    assert_eq!((of("alice"), of("bob")), (0, 1));
    assert!(engine.verify().unwrap().ok);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The index of updates is written only now and then; the order must be exact all the same.
    #[test]
    fn the_order_of_updates_is_exact(
        steps in proptest::collection::vec((0_usize..8, 0_i64..1_500_000), 1..60),
        limit in 1_usize..5,
    ) {
        let (engine, clock) = engine_at(0);
        let mut updated = std::collections::BTreeMap::new();
        for (step, (number, wait_us)) in steps.into_iter().enumerate() {
            clock.advance(wait_us + 1);
            let session = engine.session(format!("s{number}")).open().unwrap();
            session.rename(format!("{step}")).unwrap().wait().unwrap();
            updated.insert(session.id().to_owned(), session.view().unwrap().updated_at_us);
        }
        let mut wanted: Vec<_> = updated.into_iter().map(|(id, at)| (at, id)).collect();
        wanted.sort();
        for order in [SortOrder::Ascending, SortOrder::Descending] {
            let mut found = Vec::new();
            for page in 1.. {
                let query = admin().sort(SortBy::UpdatedAt, order).limit(limit).page(page);
                let ids = ids(&engine, &query);
                if ids.is_empty() {
                    break;
                }
                found.extend(ids);
            }
            let wanted: Vec<_> = wanted.iter().map(|(_, id)| id.clone()).collect();
            if order == SortOrder::Descending {
                found.reverse();
            }
            prop_assert_eq!(found, wanted);
        }
        prop_assert!(engine.verify().unwrap().ok);
    }
}

#[test]
fn a_listing_beside_deletions_leaves_out_what_goes() {
    let engine = Engine::in_memory().unwrap();
    for number in 0..200 {
        engine.session(format!("s{number}")).open().unwrap();
    }
    std::thread::scope(|scope| {
        let deletion = scope.spawn(|| {
            for number in 0..200 {
                let session = engine.session(format!("s{number}")).open_existing().unwrap();
                session.delete(None).unwrap();
            }
        });
        while !deletion.is_finished() {
            ids(&engine, &admin().limit(500));
        }
    });
    assert_eq!(ids(&engine, &admin()), [] as [&str; 0]);
}
