//! The failure of a command.

/// A command's failure: one line for a person.
pub(super) type CommandError = Box<dyn std::error::Error>;

/// Whether the reader of standard output has closed it: `relay list | head` has read enough.
pub(super) fn is_broken_pipe(error: &CommandError) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
