//! Reading at points, windows and lists, and what they should show.

use sessionlog::{Access, Point, SessionQuery};

use super::plain::session_id;
use super::run::{OWNERS, World, assert_legal};
use super::view::View;

impl World<'_> {
    pub(super) fn look(&self, number: u8, at: u8) {
        let Some(model) = self.model.session(number) else { return };
        let session = self.admin(number).unwrap();
        let seq = model.seq_at(at);
        let then = session.at(Point::seq(seq)).unwrap();
        assert_eq!(View::of(then.view()), model.view_at(seq));
        assert_legal(&then.window().last_messages(usize::from(at % 9)).messages().unwrap());
    }

    /// Whatever the cut, what is handed out can be sent.
    pub(super) fn check_windows(&self, number: u8) {
        let Ok(session) = self.admin(number) else { return };
        for count in 1..4 {
            assert_legal(&session.window().all_statuses().last_messages(count).messages().unwrap());
        }
    }

    pub(super) fn list(&self, owner: u8) {
        // A log may apply a batch before it syncs it. Events whose sync failed are not seen then,
        // but what the catalog says of a session's name, owner and number is as the log has it.
        if self.is_poisoned {
            return;
        }
        let (access, owner) = match OWNERS.get(usize::from(owner)) {
            Some(Some(user)) => (Access::User((*user).to_owned()), Some(Some(*user))),
            Some(None) => (Access::Nobody, Some(None)),
            None => (Access::Admin, None),
        };
        let page = self.engine().sessions(&SessionQuery::new(access)).unwrap();
        let mut found: Vec<_> =
            page.sessions.into_iter().map(|view| (view.session_id, view.name)).collect();
        found.sort();
        let wanted: Vec<_> = self
            .model
            .sessions
            .iter()
            .filter(|(_, session)| owner.is_none_or(|owner| session.owner == owner))
            .map(|(number, session)| (session_id(*number), session.name.clone()))
            .collect();
        assert_eq!((&found, page.total), (&wanted, wanted.len() as u64));
    }
}
