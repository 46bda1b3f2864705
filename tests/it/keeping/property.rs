//! The same whenever a policy acts: when something is written, or on what is stored already.

use proptest::prelude::*;
use sessionlog::Policy;

use crate::support::shapes::{
    assert_sound, check_left, content_of, memory, play, policies, steps, steps_with_rewinds, words,
};

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(policies())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_leaves_the_same_whether_it_acts_at_once_or_later(
        steps in steps(),
        policy in policy(),
    ) {
        let (before, after) = (memory(policy), memory(Policy::new()));
        let at_once = before.session("s").open().unwrap();
        let later = after.session("s").open().unwrap();
        play(&at_once, "", &steps);
        play(&later, "", &steps);
        let (said, view) = (words(&later), later.view().unwrap());
        let plan = later.compaction().policy(policy).plan().unwrap();
        let done = later.compaction().policy(policy).run().unwrap();
        prop_assert_eq!(plan, done);
        prop_assert_eq!(content_of(&at_once), content_of(&later));
        // Metrics and counts say what they said, and no word is lost.
        let now = later.view().unwrap();
        prop_assert_eq!(&now.metrics, &view.metrics);
        prop_assert_eq!((now.message_count, now.tool_call_count), (view.message_count, view.tool_call_count));
        prop_assert_eq!(words(&later), said);
        for session in [&at_once, &later] {
            check_left(session, &policy);
            prop_assert!(session.compaction().policy(policy).plan().unwrap()[0].is_empty());
        }
        assert_sound(&before);
        assert_sound(&after);
    }

    #[test]
    fn one_policy_after_the_other_leaves_what_both_leave_at_once(
        steps in steps_with_rewinds(),
        first in policy(),
        second in policy(),
    ) {
        let engine = memory(Policy::new());
        let (a, b) = (engine.session("a").open().unwrap(), engine.session("b").open().unwrap());
        play(&a, "", &steps);
        play(&b, "", &steps);
        a.compaction().policy(first).run().unwrap();
        a.compaction().policy(second).run().unwrap();
        b.compaction().policy(second.or(first)).run().unwrap();
        let both = Policy {
            store_media: first.store_media.or(second.store_media),
            store_tool_messages: first.store_tool_messages.or(second.store_tool_messages),
            store_history_messages: first.store_history_messages.or(second.store_history_messages),
            keep_runs: None,
        };
        prop_assert_eq!(content_of(&a), content_of(&b));
        check_left(&a, &both);
        prop_assert!(a.compaction().policy(both).plan().unwrap()[0].is_empty());
        assert_sound(&engine);
    }
}
