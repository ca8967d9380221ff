use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn an_agent_has_ended_once_no_running_is_left() {
    let (running, ending) = Ending::new();
    let second = running.clone();
    drop(running);
    assert!(!ending.wait(&Deadline::now()));
    let thread = thread::spawn(move || drop(second));
    assert!(ending.wait(&Deadline::within(SOON)));
    thread.join().expect("no panic");
    assert!(ending.wait(&Deadline::now()));
}

#[test]
fn a_panic_ends_an_agent() {
    let (running, ending) = Ending::new();
    let thread = thread::spawn(move || {
        let _running = running;
        panic!("on purpose");
    });
    assert!(ending.wait(&Deadline::within(SOON)));
    thread.join().expect_err("it panicked");
}

#[test]
fn a_future_that_another_thread_wakes_is_waited_for() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = thread::spawn(move || tell.send(7));
    assert_eq!(block_on(told), Ok(7));
    thread.join().expect("no panic").expect("it was heard");
}

#[test]
fn a_request_reaches_tasks_threads_and_calls() {
    let stop = Stop::default();
    assert!(stop.deadline().is_none() && !stop.is_asked());
    assert!(!stop.wait(Duration::ZERO));
    let (sender, called) = channel();
    for call in ["before", "too"] {
        let sender = sender.clone();
        stop.on_ask(move || sender.send(call).expect("the test listens"));
    }
    let waiting = {
        let stop = stop.clone();
        thread::spawn(move || stop.wait(SOON))
    };
    let task = {
        let stop = stop.clone();
        thread::spawn(move || block_on(stop.asked()))
    };
    stop.ask(Deadline::within(SOON));
    stop.ask(Deadline::now());
    assert!(stop.is_asked());
    assert!(waiting.join().expect("no panic"));
    let deadline = task.join().expect("no panic");
    assert!(deadline.left() > SOON / 2, "the first request counts");
    // A call that is registered too late runs at once.
    stop.on_ask(move || sender.send("after").expect("the test listens"));
    assert_eq!(
        called.iter().collect::<Vec<_>>(),
        ["before", "too", "after"]
    );
}

struct Pair {
    first: Agent,
    second: Agent,
}

const PAIR: [Step<Pair>; 2] = [
    Step {
        name: "first",
        agent: |pair| &pair.first,
        asked: Asked::InTurn,
        wait: Wait::FromTurn(SOON),
    },
    Step {
        name: "second",
        agent: |pair| &pair.second,
        asked: Asked::AtOnce,
        wait: Wait::AfterGrace(Duration::ZERO),
    },
];

/// An agent that ends when it is asked, and sends its name then.
fn agent(name: &'static str, tell: &std::sync::mpsc::Sender<&'static str>) -> Agent {
    let agent = Agent::default();
    let (running, ended) = Ending::new();
    let tell = tell.clone();
    agent.stop.on_ask(move || {
        tell.send(name).expect("the test listens");
        drop(running);
    });
    Agent {
        ended: Some(ended),
        ..agent
    }
}

#[test]
fn agents_are_asked_in_the_order_of_the_table() {
    let (tell, told) = channel();
    let pair = Pair {
        first: agent("first", &tell),
        second: agent("second", &tell),
    };
    assert!(stop_in_order(&PAIR, &pair, Duration::ZERO).is_empty());
    drop(tell);
    assert_eq!(told.iter().collect::<Vec<_>>(), ["second", "first"]);
}

#[test]
fn an_agent_that_does_not_end_in_time_is_named_and_one_that_was_not_started_is_not() {
    let (_running, ended) = Ending::new();
    let pair = Pair {
        first: Agent::default(),
        second: Agent {
            ended: Some(ended),
            ..Agent::default()
        },
    };
    assert_eq!(stop_in_order(&PAIR, &pair, Duration::ZERO), ["second"]);
}

#[test]
fn an_agent_is_asked_when_the_one_that_it_follows_has_ended_or_is_given_up() {
    let step = |name, agent: fn(&[Agent; 3]) -> &Agent, asked| Step {
        name,
        agent,
        asked,
        wait: Wait::FromTurn(Duration::ZERO),
    };
    let order: [Step<[Agent; 3]>; 3] = [
        step("first", |all| &all[0], Asked::AtOnce),
        step("second", |all| &all[1], Asked::InTurn),
        step("last", |all| &all[2], Asked::After("first")),
    ];
    for hangs in [false, true] {
        let (tell, told) = channel();
        let (_running, never) = Ending::new();
        let mut agents = ["first", "second", "last"].map(|name| agent(name, &tell));
        if hangs {
            agents[0].ended = Some(never);
        }
        let stuck = stop_in_order(&order, &agents, Duration::ZERO);
        assert_eq!(stuck.contains(&"first"), hangs);
        drop((tell, agents));
        assert_eq!(told.iter().collect::<Vec<_>>(), ["first", "last", "second"]);
    }
}
