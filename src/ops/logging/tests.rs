use std::sync::mpsc::{Receiver, Sender, channel};

use log::kv::Value;

use super::queue::{LOW_WATER, MAX_BYTES, MAX_LINES, RESERVED};
use super::*;
use crate::clock::Timestamp;

const AT: Timestamp = Timestamp::from_millis(0);

/// A record's line without the line feed.
fn formatted(format: Format, message: &str, fields: &dyn log::kv::Source) -> String {
    let mut line = Vec::new();
    format
        .write(
            &mut line,
            &Record::builder()
                .level(Level::Warn)
                .target("relay")
                .args(format_args!("{message}"))
                .key_values(&fields)
                .build(),
            AT,
        )
        .expect("a write to a Vec can't fail");
    assert_eq!(line.pop(), Some(b'\n'));
    String::from_utf8(line).expect("text")
}

fn as_text(message: &str, fields: &dyn log::kv::Source) -> String {
    formatted(Format::Text { is_coloured: false }, message, fields)
}

#[test]
fn libraries_log_no_bytes() {
    for (target, level, expected) in [
        ("relay", Level::Trace, true),
        ("relay::store", Level::Trace, true),
        ("ureq_proto::util", Level::Trace, false),
        ("relayed", Level::Trace, false),
        ("ureq::run", Level::Debug, true),
        ("ureq::run", Level::Error, true),
    ] {
        let metadata = Metadata::builder().target(target).level(level).build();
        assert_eq!(is_harmless(&metadata), expected, "{target} {level}");
    }
}

#[test]
fn a_field_without_a_value_is_left_out() {
    let fields = [("status_code", None), ("attempt", Some(3_u16))];
    assert_eq!(
        formatted(Format::Json, "attempt", &fields),
        r#"{"time":"1970-01-01T00:00:00.000Z","level":"warn","target":"relay","message":"attempt","attempt":3}"#
    );
    assert_eq!(
        as_text("attempt", &fields),
        "1970-01-01T00:00:00.000Z WARN  attempt attempt=3"
    );
}

#[test]
fn json_fields_keep_their_types_and_never_replace_those_of_every_line() {
    let fields: [(&str, Value<'_>); 6] = [
        ("is_paused", true.into()),
        ("seconds", 1.5.into()),
        ("gap", (-3).into()),
        ("bytes", u64::MAX.into()),
        ("time", "noon".into()),
        ("nothing", f64::NAN.into()),
    ];
    let line = formatted(Format::Json, "m", &fields);
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(read["is_paused"], true);
    assert_eq!(read["seconds"], 1.5);
    assert_eq!(read["gap"], -3);
    assert_eq!(read["bytes"], u64::MAX);
    assert_eq!(read["time_"], "noon");
    assert_eq!(read.get("nothing"), None, "{line}");
}

#[test]
fn a_record_is_one_line_even_with_control_characters() {
    let fields = [
        ("last_error", "a\nb"),
        ("reason", "\u{1b}[2J"),
        ("to", "x=y"),
    ];
    assert_eq!(
        as_text("one\ntwo\r\u{1b}[31m\u{7f}three ü", &fields),
        "1970-01-01T00:00:00.000Z WARN  one\\ntwo\\r\\u{1b}[31m\\u{7f}three ü \
         last_error=\"a\\nb\" reason=\"\\u{1b}[2J\" to=\"x=y\""
    );
    let line = formatted(Format::Json, "one\ntwo", &fields);
    assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn invisible_and_reordering_characters_are_shown_by_their_code() {
    let fields = [("reason", "a\u{202e}b"), ("to", "c\u{3164}\u{9b}d")];
    assert_eq!(
        as_text("one\u{2066}two ü", &fields),
        "1970-01-01T00:00:00.000Z WARN  one\\u{2066}two ü \
         reason=\"a\\u{202e}b\" to=\"c\\u{3164}\\u{9b}d\""
    );
    let line = formatted(Format::Json, "one\u{2066}two ü", &fields);
    assert!(
        line.contains("one\\u2066two ü") && !line.contains('\u{9b}'),
        "{line}"
    );
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(read["reason"], "a\u{202e}b");
    assert_eq!(read["to"], "c\u{3164}\u{9b}d");
}

#[test]
fn colours_are_written_only_if_asked_for() {
    let fields: [(&str, &str); 0] = [];
    let coloured = formatted(Format::Text { is_coloured: true }, "m", &fields);
    assert_eq!(
        coloured,
        "1970-01-01T00:00:00.000Z \u{1b}[33mWARN \u{1b}[0m m"
    );
    assert!(!as_text("m", &fields).contains('\u{1b}'));
}

/// A standard error that accepts a write when the test permits it, and hands it to the test.
struct GatedStderr {
    may_write: Receiver<std::io::Result<usize>>,
    written: Sender<Vec<u8>>,
}

impl std::io::Write for GatedStderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The test has ended.
        let Ok(limit) = self.may_write.recv() else {
            return Ok(bytes.len());
        };
        let bytes = &bytes[..bytes.len().min(limit?)];
        // The test may not read any more.
        let _ = self.written.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A queue whose writer waits for a permit before each write.
struct Scene {
    queue: Arc<Queue>,
    permit: Sender<std::io::Result<usize>>,
    written: Receiver<Vec<u8>>,
}

impl Scene {
    fn new() -> Self {
        let queue = Arc::new(Queue::new(|dropped| {
            format!("dropped {dropped}\n").into_bytes()
        }));
        let (permit, may_write) = channel();
        let (sender, written) = channel();
        let writer = Arc::clone(&queue);
        let mut stderr = GatedStderr {
            may_write,
            written: sender,
        };
        std::thread::spawn(move || writer.write_to(&mut stderr));
        Self {
            queue,
            permit,
            written,
        }
    }

    fn push(&self, line: &str, is_urgent: bool) {
        // Of the exact size: a line counts with its capacity.
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.queue.push(bytes, is_urgent);
    }

    /// Permits all writes, and returns the lines.
    fn all_lines(self) -> Vec<String> {
        // More permits than there are lines.
        for _ in 0..2 * MAX_LINES {
            self.permit.send(Ok(usize::MAX)).expect("a writer");
        }
        assert!(self.queue.flush(Duration::from_secs(60)), "all is written");
        let bytes = self.written.try_iter().flatten().collect();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_full_queue_drops_lines_and_reports_them_once() {
    let scene = Scene::new();
    let kept = MAX_LINES - MAX_LINES / RESERVED;
    for n in 0..kept + 100 {
        scene.push(&n.to_string(), false);
    }
    assert!(!scene.queue.flush(Duration::ZERO), "nothing is written");
    let lines = scene.all_lines();
    let expected: Vec<_> = (0..kept)
        .map(|n| n.to_string())
        .chain(["dropped 100".to_owned()])
        .collect();
    assert!(
        lines == expected,
        "{} lines: {:?}",
        lines.len(),
        lines.last()
    );
}

#[test]
fn a_full_queue_accepts_lines_again_below_the_low_water_mark() {
    let scene = Scene::new();
    let kept = MAX_LINES - MAX_LINES / RESERVED;
    for n in 0..=kept {
        scene.push(&n.to_string(), false);
    }
    // One write takes many lines, and less than half of them.
    scene.permit.send(Ok(usize::MAX)).expect("a writer");
    let mut seen = scene.written.recv().expect("a write");
    scene.push("too early", false);
    while seen.iter().filter(|byte| **byte == b'\n').count() <= kept - MAX_LINES / LOW_WATER {
        scene.permit.send(Ok(usize::MAX)).expect("a writer");
        seen.extend(scene.written.recv().expect("a write"));
    }
    // A write leaves the counts when the next one begins.
    scene.permit.send(Ok(1)).expect("a writer");
    seen.extend(scene.written.recv().expect("a write"));
    scene.push("in time", false);
    let last = scene.all_lines();
    let n = last.len();
    assert_eq!(last[n - 2..], ["dropped 2", "in time"]);
    assert_eq!(last[n - 3], (kept - 1).to_string());
}

#[test]
fn a_share_of_the_queue_is_reserved_for_warnings_and_errors() {
    let scene = Scene::new();
    for _ in 0..MAX_LINES {
        scene.push("flood", false);
    }
    for n in 0..MAX_LINES {
        scene.push(&format!("fatal {n}"), true);
    }
    let lines = scene.all_lines();
    let fatal = lines
        .iter()
        .filter(|line| line.starts_with("fatal"))
        .count();
    assert_eq!(fatal, MAX_LINES / RESERVED);
    assert_eq!(lines.last(), Some(&format!("dropped {MAX_LINES}")));
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let scene = Scene::new();
    let line = "x".repeat(64 << 10);
    for _ in 0..64 {
        scene.push(&line, true);
    }
    let lines = scene.all_lines();
    let kept = MAX_BYTES / ((64 << 10) + 1);
    assert_eq!(lines.len(), kept + 1);
    assert_eq!(lines[kept], format!("dropped {}", 64 - kept));
}

#[test]
fn a_line_that_an_error_cut_is_ended_before_the_next_one() {
    let scene = Scene::new();
    scene.push("first", false);
    scene.permit.send(Ok(3)).expect("a writer");
    let full = || Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    scene.permit.send(full()).expect("a writer");
    assert_eq!(scene.written.recv().expect("a write"), b"fir");
    assert!(scene.queue.flush(Duration::from_secs(60)), "it is given up");
    scene.push("second", false);
    assert_eq!(scene.all_lines(), ["", "dropped 1", "second"]);
}

#[test]
fn endless_panics_are_ten_lines_a_minute() {
    let mut panics = PanicLimiter::default();
    let logged = |panics: &mut PanicLimiter, second| {
        let admit = |_| panics.admit(Duration::from_secs(second));
        (0..1_000).filter_map(admit).collect::<Vec<_>>()
    };
    assert_eq!(logged(&mut panics, 5), [0; 10]);
    assert!(logged(&mut panics, 64).is_empty());
    assert_eq!(logged(&mut panics, 65)[..2], [1_990, 0]);
}

/// Set for the process that [`a_panic_is_logged_without_waiting_for_a_full_pipe`] starts.
const IN_CHILD: &str = "RELAY_TEST_PANICS";

/// The child: fills the pipe that is its standard error, and panics in a thread.
fn panic_behind_a_full_pipe() {
    let settings = Log {
        format: LogFormat::Json,
        level: "off".to_owned(),
    };
    start(&settings).expect("a log");
    let queue = queue().expect("a queue");
    // More than a pipe holds, and less than the queue does.
    for _ in 0..256 {
        queue.push(format!("{}\n", "x".repeat(1000)).into_bytes(), false);
    }
    let panicking = std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(|| panic!("on purpose:\n{}", 7))
        .expect("a thread");
    assert!(panicking.join().is_err());
    // The parent reads from here on.
    println!("went on");
    assert!(queue.flush(Duration::from_secs(60)));
}

#[test]
fn a_panic_is_logged_without_waiting_for_a_full_pipe() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Command, Stdio};

    if std::env::var_os(IN_CHILD).is_some() {
        return panic_behind_a_full_pipe();
    }
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("ops::logging::tests::a_panic_is_logged_without_waiting_for_a_full_pipe")
        .env(IN_CHILD, "1")
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let (sender, went_on) = channel();
    let lines = std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if line.ends_with("went on") {
                sender.send(()).expect("the test waits");
            }
        }
    });
    let went_on = went_on.recv_timeout(Duration::from_secs(60));
    if went_on.is_err() {
        child.kill().expect("it runs");
    }
    let mut log = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut log).expect("text");
    lines.join().expect("it only reads");
    assert!(child.wait().expect("its end").success() && went_on.is_ok());
    let panic = log.lines().rfind(|line| line.contains("panicked"));
    let panic: serde_json::Value =
        serde_json::from_str(panic.expect("a line")).expect("a whole line of JSON");
    assert_eq!(panic["message"], "panicked");
    assert_eq!(panic["level"], "error");
    assert_eq!(panic["thread"], "worker");
    assert_eq!(panic["reason"], "on purpose:\n7");
    let at = panic["at"].as_str().expect("a place");
    assert!(at.starts_with("src/ops/logging/tests.rs:"), "{at}");
    assert_eq!(panic.get("backtrace"), None);
}
