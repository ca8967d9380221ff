//! The actions that may come next, and the worlds that follow.

use crate::store::postgres::nodes::bucket_set::BucketSet;
use crate::store::postgres::nodes::membership::{Answer, Rules, Step};
use crate::store::postgres::nodes::model::database::{BUCKETS, Claim};
use crate::store::postgres::nodes::model::faults::{Budget, Mutant};
use crate::store::postgres::nodes::model::world::{Absence, NOW, Node, Process, Work, World};

/// The model: its settings.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub rules: Rules,
    pub budget: Budget,
    /// The attempts that the delivery of each bucket takes.
    pub attempts: [u8; 2],
    pub mutant: Option<Mutant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    /// A node makes the next statement of its beat.
    Step(usize, Fate),
    Pause(usize),
    Resume(usize),
    Kill(usize),
    Start(usize),
    Leave(usize),
    DatabaseGoes,
    DatabaseComes,
    Claim(usize, usize),
    Begin(usize, usize),
    Release(usize, usize),
    Settle(usize, usize, Fate),
    Replay(usize),
}

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// It is made, and its answer is lost.
    Unanswered,
    /// It is lost.
    Unmade,
    /// It is made, and the node is stopped before it sees the answer.
    Paused,
}

impl Protocol {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn may_claim(&self, world: &World, n: usize, b: usize) -> bool {
        let node = &world.nodes[n];
        let Some(life) = node.life() else {
            return false;
        };
        let owner = world.database.owners[b];
        let owns = node.membership.owned().contains(BUCKETS[b])
            || self.is(Mutant::ClaimDrained) && owner == Some(life.epoch);
        let is_left = world.database.attempts[b] < self.attempts[b];
        owns && is_left && !world.database.is_away
    }

    pub fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        if world.violated.is_some() {
            return;
        }
        if world.may_tick() {
            actions.push(Action::Tick);
        }
        let budget = &world.budget;
        if world.database.is_away {
            actions.push(Action::DatabaseComes);
        } else if budget.outages > 0 {
            actions.push(Action::DatabaseGoes);
        }
        if budget.replays > 0 {
            let ended = (0..BUCKETS.len()).filter(|b| world.database.may_replay(*b));
            actions.extend(ended.map(Action::Replay));
        }
        for (n, node) in world.nodes.iter().enumerate() {
            match node.process {
                Process::Running => self.of_node(world, n, actions),
                Process::Paused => actions.push(Action::Resume(n)),
                Process::Ended if budget.starts > 0 => actions.push(Action::Start(n)),
                Process::Ended => {}
            }
            if node.process != Process::Ended && budget.kills > 0 {
                actions.push(Action::Kill(n));
            }
        }
    }

    fn of_node(&self, world: &World, n: usize, actions: &mut Vec<Action>) {
        let (node, budget) = (&world.nodes[n], &world.budget);
        let is_there = !world.database.is_away;
        if node.is_beat_due || node.membership.step(NOW).is_some() {
            actions.push(Action::Step(n, Fate::Answered));
            if is_there && budget.losses > 0 {
                actions.push(Action::Step(n, Fate::Unanswered));
                actions.push(Action::Step(n, Fate::Unmade));
            }
            if is_there && budget.pauses > 0 {
                actions.push(Action::Step(n, Fate::Paused));
            }
        }
        if budget.pauses > 0 {
            actions.push(Action::Pause(n));
        }
        if budget.leaves > 0 && !node.membership.is_leaving() {
            actions.push(Action::Leave(n));
        }
        for b in 0..BUCKETS.len() {
            match node.work[b] {
                Work::Idle if self.may_claim(world, n, b) => actions.push(Action::Claim(n, b)),
                Work::Claimed(_) if node.believes() || self.is(Mutant::BeginWithoutLease) => {
                    actions.push(Action::Begin(n, b));
                }
                Work::Claimed(_) if is_there => actions.push(Action::Release(n, b)),
                Work::Idle | Work::Claimed(_) => {}
                Work::InFlight(_) | Work::Done(_) => {
                    actions.push(Action::Settle(n, b, Fate::Answered));
                    if is_there && budget.losses > 0 {
                        actions.push(Action::Settle(n, b, Fate::Unanswered));
                    }
                }
            }
        }
    }

    pub fn follow(&self, world: &mut World, action: Action) {
        match action {
            Action::Tick => world.tick(self.rules.lease),
            Action::Step(n, fate) => self.step(world, n, fate),
            Action::Pause(n) => pause(world, n),
            Action::Resume(n) => self.resume(world, n),
            Action::Kill(n) => {
                world.budget.kills -= 1;
                world.nodes[n] = Node::new(self.rules, Process::Ended);
            }
            Action::Start(n) => {
                world.budget.starts -= 1;
                world.nodes[n] = Node::new(self.rules, Process::Running);
            }
            Action::Leave(n) => {
                world.budget.leaves -= 1;
                world.nodes[n].membership.leave();
            }
            Action::DatabaseGoes => {
                world.budget.outages -= 1;
                world.database.is_away = true;
            }
            Action::DatabaseComes => world.database.is_away = false,
            Action::Claim(n, b) => self.claim(world, n, b),
            Action::Begin(n, b) => begin(world, n, b),
            Action::Release(n, b) => self.release(world, n, b),
            Action::Replay(b) => {
                world.budget.replays -= 1;
                world.database.replay(b);
                world.begun[b] = None;
            }
            Action::Settle(n, b, fate) => self.settle(world, n, b, fate),
        }
        for node in &mut world.nodes {
            self.drain(node);
        }
        world.judge(self.rules);
    }

    /// Tells which buckets are drained.
    fn drain(&self, node: &mut Node) {
        for (bucket, work) in BUCKETS.iter().zip(node.work) {
            let is_drained = match work {
                Work::Idle => true,
                Work::Done(_) => self.is(Mutant::GiveUnsettled) || self.is(Mutant::GiveUndrained),
                Work::Claimed(_) | Work::InFlight(_) => self.is(Mutant::GiveUndrained),
            };
            if is_drained && node.is_running() {
                node.membership.drained(*bucket);
            }
        }
    }

    fn step(&self, world: &mut World, n: usize, fate: Fate) {
        let node = &mut world.nodes[n];
        if node.membership.step(NOW).is_none() {
            node.is_beat_due = false;
            node.membership.beat();
        }
        let Some(step) = node.membership.step(NOW).cloned() else {
            node.process = Process::Ended;
            return;
        };
        if matches!(fate, Fate::Unmade | Fate::Unanswered) {
            world.budget.losses -= 1;
            (world.free_for, world.orphaned_for) = ([0; 2], [0; 2]);
        }
        if world.database.is_away || fate == Fate::Unmade {
            (world.free_for, world.orphaned_for) = ([0; 2], [0; 2]);
            world.nodes[n].membership.failed();
            return;
        }
        let answer = self.execute(world, n, &step);
        match fate {
            Fate::Paused => {
                pause(world, n);
                world.nodes[n].inbox = Some((answer, NOW));
            }
            Fate::Unanswered => world.nodes[n].membership.failed(),
            _ => self.answered(&mut world.nodes[n], answer, NOW),
        }
    }

    fn execute(&self, world: &mut World, n: usize, step: &Step) -> Answer {
        let lease = self.rules.lease;
        let number = u8::try_from(n).expect("a node of three");
        let is_leaving = world.nodes[n].membership.is_leaving();
        let own = world.nodes[n].life();
        let own = |what: &str| own.unwrap_or_else(|| panic!("{what} is made by a living node"));
        let database = &mut world.database;
        match step {
            Step::Join => {
                world.nodes[n].was_away = false;
                database.join(number, lease)
            }
            Step::Renew => {
                world.nodes[n].was_away = false;
                database.renew(own("a renewal"), is_leaving, lease)
            }
            Step::Look => Answer::Saw(database.view(own("a look"), lease)),
            Step::TakeOver(other) => {
                if database.take_over(*other, lease, self.mutant) {
                    world.has_taken_over = true;
                    let is_other = |node: &&Node| node.life() == Some(*other);
                    let replaced = world.nodes.iter().find(is_other);
                    if replaced.is_some_and(|node| node.is_running() && !node.was_away) {
                        world.violate(Absence::TakenOverAlive);
                    }
                }
                Answer::TookOver
            }
            Step::Exchange { give, grab } => {
                world.has_exchanged |= !give.is_empty();
                database.exchange(own("an exchange"), (*give, *grab), self.mutant)
            }
            Step::Leave => database.leave(own("a leave"), self.mutant),
        }
    }

    fn answered(&self, node: &mut Node, answer: Answer, sent: u64) {
        let has_left = answer == Answer::Left;
        let has_joined = matches!(answer, Answer::Joined(_));
        let is_fenced = matches!(answer, Answer::Renewed(None));
        let is_mutant = self.is(Mutant::BelieveFromAnswer);
        if is_fenced {
            node.fenced();
            return;
        }
        let sent = if is_mutant { NOW } else { sent };
        node.membership.answered(answer, sent, NOW);
        if has_joined && self.is(Mutant::KeepOverFence) {
            node.membership.keep(node.kept);
        }
        node.kept = BucketSet::EMPTY;
        if has_left {
            node.process = Process::Ended;
        }
    }

    fn resume(&self, world: &mut World, n: usize) {
        let node = &mut world.nodes[n];
        node.process = Process::Running;
        node.is_beat_due = true;
        if let Some((answer, sent)) = node.inbox.take() {
            self.answered(node, answer, sent);
        }
    }

    fn claim(&self, world: &mut World, n: usize, b: usize) {
        let Some(own) = world.nodes[n].life() else {
            return;
        };
        if !world.database.has(own) && !self.is(Mutant::ClaimUnfenced) {
            world.nodes[n].fenced();
            return;
        }
        let attempt = world.database.attempts[b] + 1;
        world.database.claims.push(Claim {
            epoch: own.epoch,
            bucket: b,
            attempt,
        });
        world
            .database
            .claims
            .sort_by_key(|claim| (claim.bucket, claim.epoch));
        world.nodes[n].work[b] = Work::Claimed(attempt);
    }

    fn release(&self, world: &mut World, n: usize, b: usize) {
        let Some(own) = world.nodes[n].life() else {
            return;
        };
        if !world.database.has(own) {
            world.nodes[n].fenced();
            return;
        }
        unclaim(world, own.epoch, b);
        world.nodes[n].work[b] = Work::Idle;
    }

    fn settle(&self, world: &mut World, n: usize, b: usize, fate: Fate) {
        let (Some(own), Work::InFlight(attempt) | Work::Done(attempt)) =
            (world.nodes[n].life(), world.nodes[n].work[b])
        else {
            return;
        };
        world.nodes[n].work[b] = Work::Done(attempt);
        if world.database.is_away {
            return;
        }
        let is_alive = world.database.has(own);
        if !is_alive && !self.is(Mutant::SettleUnfenced) {
            world.nodes[n].fenced();
            return;
        }
        if world.database.record(b, attempt, self.mutant) && !is_alive {
            world.violate(Absence::WrittenByTheDead);
        }
        unclaim(world, own.epoch, b);
        if fate == Fate::Unanswered {
            world.budget.losses -= 1;
        } else {
            world.nodes[n].work[b] = Work::Idle;
        }
    }
}

fn unclaim(world: &mut World, epoch: i64, b: usize) {
    let claims = &mut world.database.claims;
    claims.retain(|claim| claim.epoch != epoch || claim.bucket != b);
}

fn pause(world: &mut World, n: usize) {
    world.budget.pauses -= 1;
    world.nodes[n].process = Process::Paused;
    world.nodes[n].was_away = true;
    world.nodes[n].is_beat_due = false;
}

/// An attempt begins. One of another node that is within its lease may be under way only if
/// something is wrong.
fn begin(world: &mut World, n: usize, b: usize) {
    let (Some(own), Work::Claimed(attempt)) = (world.nodes[n].life(), world.nodes[n].work[b])
    else {
        return;
    };
    let others = world.nodes.iter().enumerate().filter(|(m, _)| *m != n);
    let mut under_way = others.filter(|(_, node)| matches!(node.work[b], Work::InFlight(_)));
    if under_way.any(|(_, node)| node.believes()) {
        world.violate(Absence::TwoOwners);
    }
    if let Some((before, epoch)) = world.begun[b]
        && before == attempt
        && world.database.is_alive(epoch)
    {
        world.violate(Absence::AttemptedTwice);
    }
    world.begun[b] = Some((attempt, own.epoch));
    world.nodes[n].work[b] = Work::InFlight(attempt);
}
