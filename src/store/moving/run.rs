//! The steps of a move.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::store::move_error::MoveError;
use crate::store::types::{
    MOVED, MoveProgress, MoveReport, MoveSource, MoveTarget, MovedAway, MovedCount, MovedTable,
    RowsDigest, UnfinishedMove,
};

/// Moves everything from one store to another. `progress` is called after each step.
pub fn run(
    source: &mut impl MoveSource,
    target: &mut impl MoveTarget,
    wall: Timestamp,
    progress: &dyn Fn(MoveProgress),
) -> Result<MoveReport, MoveError> {
    let (from, to) = (source.name(), target.name());
    if let Some(away) = source.moved_away()? {
        finish(target, &from, away)?;
        return Ok(MoveReport {
            from,
            to,
            tables: None,
            ahead_millis: 0,
        });
    }
    let mut mark = UnfinishedMove {
        token: Uuid::new_v4().to_string(),
        from: from.clone(),
        begun_at: wall.as_millis(),
        is_complete: false,
    };
    target.begin(&mark)?;
    progress(MoveProgress::Begun);
    let mut counts = Vec::new();
    for table in &MOVED {
        counts.push((table, copy(source, target, table, progress)?));
    }
    target.copied(&source.installation()?)?;
    for (table, expected) in &counts {
        compare(target, table, expected, &from, progress)?;
    }
    let now = source.now()?;
    let ahead_millis = now.as_millis() - target.now(now)?.as_millis();
    mark.is_complete = true;
    target.complete(&mark)?;
    progress(MoveProgress::Completed);
    source.leave(&MovedAway {
        token: mark.token,
        to: to.clone(),
        at: wall.as_millis(),
    })?;
    progress(MoveProgress::Left);
    target.release()?;
    let counted = counts.iter().map(|(table, digest)| MovedCount {
        table: table.name,
        rows: digest.rows,
        digest: digest.hex(),
    });
    Ok(MoveReport {
        from,
        to,
        tables: Some(counted.collect()),
        ahead_millis,
    })
}

/// Ends a move that was interrupted after the source had left.
fn finish(target: &mut impl MoveTarget, from: &str, away: MovedAway) -> Result<(), MoveError> {
    match target.unfinished()? {
        Some(mark) if mark.token == away.token && mark.is_complete => target.release(),
        None if target.name() == away.to => Err(MoveError::Finished {
            name: from.to_owned(),
            to: away.to,
            at: Timestamp::from_millis(away.at),
        }),
        _ => Err(MoveError::MovedElsewhere {
            name: from.to_owned(),
            to: away.to,
            at: Timestamp::from_millis(away.at),
            target: target.name(),
        }),
    }
}

/// Copies a table, and returns the digest of what was read.
fn copy(
    source: &mut impl MoveSource,
    target: &mut impl MoveTarget,
    table: &'static MovedTable,
    progress: &dyn Fn(MoveProgress),
) -> Result<RowsDigest, MoveError> {
    let mut digest = RowsDigest::default();
    source.read(table, &mut |rows| {
        for row in &rows {
            digest.add(row, table.columns.len());
        }
        target.write(table, rows)?;
        progress(MoveProgress::Copied {
            table: table.name,
            rows: digest.rows,
        });
        Ok(())
    })?;
    Ok(digest)
}

/// Reads a table back, and compares it with what was read from the source.
fn compare(
    target: &mut impl MoveTarget,
    table: &'static MovedTable,
    expected: &RowsDigest,
    from: &str,
    progress: &dyn Fn(MoveProgress),
) -> Result<(), MoveError> {
    let mut found = RowsDigest::default();
    target.read(table, &mut |rows| {
        for row in &rows {
            found.add(row, table.columns.len());
        }
        progress(MoveProgress::Compared {
            table: table.name,
            rows: found.rows,
        });
        Ok(())
    })?;
    if found == *expected {
        return Ok(());
    }
    Err(MoveError::Differs {
        table: table.name,
        from: from.to_owned(),
        to: target.name(),
        rows: expected.rows,
        found: found.rows.to_string(),
    })
}
