//! What is known of an import that breaks off.

use std::sync::Arc;

use super::*;
use crate::log::FaultyLog;
use crate::transcript::Importer;

#[test]
fn an_import_that_runs_out_of_disk_counts_what_it_recorded_and_goes_on_later() {
    let log = Arc::new(FaultyLog::new(7));
    let engine = Engine::builder().open_log(Arc::clone(&log) as _).unwrap();
    let chat = |at: usize| {
        let words = "all work and no play ".repeat(20);
        format!(
            "{{\"id\":\"chat-{at}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{words}\"}}]}}"
        )
    };
    let chats: Vec<String> = (0..40).map(chat).collect();
    let options = ImportOptions::default();
    let mut importer = Importer::new(&engine, &options);
    importer.text("first", chats[..10].join("\n").as_bytes()).unwrap();
    log.set_room(Some(10_000));
    importer.text("all", chats.join("\n").as_bytes()).unwrap_err();
    let recorded = importer.into_report().recorded.sessions;
    assert!((10..40).contains(&recorded), "{recorded}");
    drop(engine);
    log.be_good();
    let engine = Engine::builder().open_log(log as _).unwrap();
    let there = engine.sessions(&crate::SessionQuery::new(crate::Access::Admin)).unwrap().total;
    assert_eq!(recorded, there);
    let report = import(&engine, "all", &chats.join("\n"));
    assert_eq!((report.unchanged, report.recorded.sessions), (recorded, 40 - recorded));
}
