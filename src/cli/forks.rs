//! The tree that a session's forks make.

use std::collections::HashSet;
use std::io::Write;

use serde::Serialize;
use serde_json::json;
use sessionlog::{Engine, Fork, Session};

use super::args::{ForksArgs, Global};
use super::database;
use super::failure::{Outcome, Result};
use super::output::{FAINT, LABEL, Output};
use super::text;

/// A session in the tree.
#[derive(Debug, Serialize)]
struct Node {
    session_id: String,
    session_name: Option<String>,
    /// The session it was forked from, and where.
    parent_session_id: Option<String>,
    forked_at_seq: Option<u64>,
    created_at: String,
    /// How many forks lie between it and the first.
    depth: usize,
}

pub(super) fn run(global: &Global, args: &ForksArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let asked = database::session(&engine, &args.session)?;
    let root = root(&engine, asked)?;
    let nodes = tree(&engine, &root)?;
    if out.is_json() {
        out.json(&json!({ "forks": nodes }))?;
    } else {
        write(&nodes, &args.session, out)?;
    }
    Ok(Outcome::Fine)
}

/// The session that all the others come from, as far up as there are sessions.
fn root(engine: &Engine, session: Session) -> Result<Session> {
    let mut root = session;
    let mut seen = HashSet::new();
    while let Some(from) = root.view()?.forked_from {
        let parent = engine.session(from.session_id).admin();
        match parent.open_existing() {
            Ok(parent) if seen.insert(parent.id().to_owned()) => root = parent,
            _ => break,
        }
    }
    Ok(root)
}

/// The tree below a session.
fn tree(engine: &Engine, root: &Session) -> Result<Vec<Node>> {
    let view = root.view()?;
    let mut waiting = vec![Node {
        session_id: view.session_id,
        session_name: view.name,
        parent_session_id: None,
        forked_at_seq: None,
        created_at: text::rfc3339(view.created_at_us),
        depth: 0,
    }];
    let (mut nodes, mut seen) = (Vec::new(), HashSet::new());
    while let Some(node) = waiting.pop() {
        // A damaged index may lead in a circle.
        if !seen.insert(node.session_id.clone()) {
            continue;
        }
        let forks = database::session(engine, &node.session_id)?.forks()?;
        waiting.extend(forks.into_iter().rev().map(|fork| node.fork(fork)));
        nodes.push(node);
    }
    Ok(nodes)
}

impl Node {
    fn fork(&self, fork: Fork) -> Self {
        Self {
            session_id: fork.session_id,
            session_name: fork.name,
            parent_session_id: Some(self.session_id.clone()),
            forked_at_seq: Some(fork.seq),
            created_at: text::rfc3339(fork.created_at_us),
            depth: self.depth + 1,
        }
    }
}

fn write(nodes: &[Node], asked: &str, out: &mut Output) -> Result<()> {
    for node in nodes {
        let indent = "  ".repeat(node.depth);
        let name = node.session_name.as_ref().map(|name| format!("  {}", text::one_line(name)));
        let at = node.forked_at_seq.map(|seq| format!("  {FAINT}at seq {seq}{FAINT:#}"));
        let (name, at) = (name.unwrap_or_default(), at.unwrap_or_default());
        let id = text::one_line(&node.session_id);
        if node.session_id == asked {
            writeln!(out, "{indent}{LABEL}{id}{LABEL:#}{at}{name}")?;
        } else {
            writeln!(out, "{indent}{id}{at}{name}")?;
        }
    }
    Ok(())
}
