//! Random operations on the engine against a plain list of what should be there, in memory, on
//! disk, and on a disk that fails.
//!
//! - `ops`: what can be done. A new operation is a variant there, a line in its strategy, and
//!   an arm in `run`.
//! - `plain`: what should be there then. A new kind of event is a `Fact` there.
//! - `left`: what policies and erasure leave of it.
//! - `run`: does an operation to both, and compares.
//! - `life`: the same for what happens to all of a database: closing, power cuts, faults.
//!
//! A list that fails is printed with the seed of its disk, made shorter, and kept
//! under `proptest-regressions`, from where every later run tries it first.

mod keep;
mod left;
mod life;
mod look;
mod ops;
mod past;
mod plain;
mod run;
mod view;

use std::sync::Arc;

use proptest::prelude::*;
use sessionlog::log::FaultyLog;
use sessionlog::testing::seal_in_memory;
use sessionlog::{Durability, Engine, Log, MemoryLog, Result, StaticKey};

use self::ops::{Op, any_op, any_op_of_keeping, any_op_or_fault};
use self::run::World;
use crate::support::Disk;

/// Where a database is kept.
trait Backend {
    /// Opens it, as a process does that was just started.
    fn open(&mut self) -> Result<Engine>;

    /// The disk that fails, where it is one.
    fn faulty(&self) -> Option<&FaultyLog> {
        None
    }

    /// What is stored, where a test can look at it.
    fn log(&self) -> Option<&dyn Log> {
        None
    }

    /// The process ends.
    fn close(&mut self) {}

    /// The power fails, where it can.
    fn crash(&mut self) {
        self.close();
    }

    fn durability(&self) -> Durability {
        Durability::PowerLoss
    }
}

struct InMemory(Arc<dyn Log>);

impl Backend for InMemory {
    fn open(&mut self) -> Result<Engine> {
        Engine::builder().open_log(Arc::clone(&self.0))
    }

    fn log(&self) -> Option<&dyn Log> {
        Some(&*self.0)
    }
}

impl Backend for Disk {
    fn open(&mut self) -> Result<Engine> {
        Engine::open(self.path())
    }
}

struct OnFaultyDisk {
    log: Arc<FaultyLog>,
    durability: Durability,
}

impl Backend for OnFaultyDisk {
    fn open(&mut self) -> Result<Engine> {
        let builder = Engine::builder().durability(self.durability);
        builder.open_log(Arc::clone(&self.log) as Arc<dyn Log>)
    }

    fn faulty(&self) -> Option<&FaultyLog> {
        Some(&self.log)
    }

    fn log(&self) -> Option<&dyn Log> {
        Some(&*self.log)
    }

    fn close(&mut self) {
        self.log = Arc::new(self.log.reopen());
    }

    fn crash(&mut self) {
        self.log = Arc::new(self.log.crash());
    }

    fn durability(&self) -> Durability {
        self.durability
    }
}

fn play(ops: &[Op], backend: &mut dyn Backend) {
    let mut world = World::new(backend);
    for op in ops {
        world.run(op);
    }
    world.reopen(None);
    world.check();
}

/// As many cases as the environment says, or else so many.
fn cases(ordinary: u32) -> ProptestConfig {
    // Each shorter list is played from its start, so a failure is not made as short as it gets.
    let known = ProptestConfig { max_shrink_time: 30_000, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => known,
        None => ProptestConfig { cases: ordinary, ..known },
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn the_engine_in_memory_holds_what_a_plain_list_holds(
        ops in proptest::collection::vec(any_op(), 1..50),
    ) {
        play(&ops, &mut InMemory(Arc::new(MemoryLog::new())));
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn what_goes_from_sessions_that_share_is_what_the_rules_say(
        ops in proptest::collection::vec(any_op_of_keeping(), 1..60),
    ) {
        play(&ops, &mut InMemory(Arc::new(MemoryLog::new())));
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn the_engine_over_sealed_values_holds_what_a_plain_list_holds(
        ops in proptest::collection::vec(any_op(), 1..40),
    ) {
        let key = Arc::new(StaticKey::new([1; 32]));
        let sealed = seal_in_memory(Arc::new(MemoryLog::new()), key).unwrap();
        play(&ops, &mut InMemory(sealed));
    }


    #[test]
    fn the_engine_on_disk_holds_what_a_plain_list_holds(
        ops in proptest::collection::vec(any_op(), 1..40),
    ) {
        play(&ops, &mut Disk::new());
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn on_a_disk_that_fails_what_was_acknowledged_is_there_and_nothing_by_halves(
        seed: u64,
        ops in proptest::collection::vec(any_op_or_fault(), 1..50),
    ) {
        let log = Arc::new(FaultyLog::new(seed));
        play(&ops, &mut OnFaultyDisk { log, durability: Durability::PowerLoss });
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_power_cut_takes_whole_commits_off_the_end_of_what_was_not_to_survive_it(
        seed: u64,
        ops in proptest::collection::vec(any_op_or_fault(), 1..50),
    ) {
        let log = Arc::new(FaultyLog::new(seed));
        play(&ops, &mut OnFaultyDisk { log, durability: Durability::ProcessCrash });
    }
}
