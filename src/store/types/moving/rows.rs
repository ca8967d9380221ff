//! Rows as they are moved: the same on every engine.

use sha2::{Digest as _, Sha256};

/// Rows that are moved together, and their bytes: beyond either a batch ends.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

/// A value of a row. Text is its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MovedValue {
    Null,
    Number(i64),
    Bytes(Vec<u8>),
}

impl MovedValue {
    /// The number; none of NULL or bytes.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes; none of NULL or a number.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes that it takes in memory, or nearly so.
    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes().map_or(0, <[u8]>::len)
    }
}

/// The values of a row by the table's columns. Those after them follow from others, and are only
/// there to be written.
pub(crate) type MovedRow = Vec<MovedValue>;

/// Rows that are moved together: bounded, but for a single row that is larger.
#[derive(Debug, Default)]
pub(crate) struct MovedRows {
    rows: Vec<MovedRow>,
    bytes: usize,
}

impl MovedRows {
    pub fn push(&mut self, row: MovedRow) {
        self.bytes += row.iter().map(MovedValue::size).sum::<usize>();
        self.rows.push(row);
    }

    /// Whether nothing more is added.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// The rows, so that the next ones can be added.
    pub fn take(&mut self) -> Vec<MovedRow> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}

/// The number of rows and a digest that doesn't depend on their order: 256 bits of a sum of the
/// rows' SHA-256, so that no engine has to sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowsDigest {
    pub rows: u64,
    sum: [u64; 4],
}

impl RowsDigest {
    /// Adds the first `columns` values of a row.
    pub fn add(&mut self, row: &MovedRow, columns: usize) {
        let mut hash = Sha256::new();
        for value in row.iter().take(columns) {
            match value {
                MovedValue::Null => hash.update([0]),
                MovedValue::Number(number) => {
                    hash.update([1]);
                    hash.update(number.to_be_bytes());
                }
                MovedValue::Bytes(bytes) => {
                    hash.update([2]);
                    hash.update((bytes.len() as u64).to_be_bytes());
                    hash.update(bytes);
                }
            }
        }
        let whole = <[u8; 32]>::from(hash.finalize());
        let (lanes, _) = whole.as_chunks::<8>();
        for (sum, lane) in self.sum.iter_mut().zip(lanes) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*lane));
        }
        self.rows += 1;
    }

    /// The digest in hexadecimal.
    pub fn hex(&self) -> String {
        let [a, b, c, d] = self.sum;
        format!("{a:016x}{b:016x}{c:016x}{d:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[MovedRow]) -> RowsDigest {
        let mut digest = RowsDigest::default();
        for row in rows {
            digest.add(row, row.len());
        }
        digest
    }

    #[test]
    fn a_digest_depends_on_each_value_and_not_on_the_order() {
        use MovedValue::{Bytes, Null, Number};

        let (one, other) = (vec![Number(1), Bytes(b"ab".into())], vec![Null, Number(2)]);
        let both = digest(&[one.clone(), other.clone()]);
        assert_eq!(both, digest(&[other.clone(), one.clone()]));
        for different in [
            vec![other.clone()],
            vec![one.clone(), one.clone()],
            vec![one.clone(), vec![Number(0), Number(2)]],
            vec![one.clone(), vec![Bytes(Vec::new()), Number(2)]],
            vec![
                vec![Number(1), Bytes(b"a".into()), Bytes(b"b".into())],
                other,
            ],
        ] {
            assert_ne!(both, digest(&different), "{different:?}");
        }
    }

    #[test]
    fn a_batch_ends_with_its_bytes_or_its_rows() {
        let mut rows = MovedRows::default();
        rows.push(vec![MovedValue::Bytes(vec![0; BATCH_BYTES])]);
        assert!(rows.is_full());
        assert_eq!(rows.take().len(), 1);
        for _ in 1..BATCH_ROWS {
            rows.push(vec![MovedValue::Null]);
            assert!(!rows.is_full());
        }
        rows.push(vec![MovedValue::Null]);
        assert!(rows.is_full());
    }
}
