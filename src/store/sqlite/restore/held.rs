//! Settles the database after its restore, while it is held.

use super::comparison;
use super::pending::Old;
use crate::store::backup_error::RestoreError;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::{hold, settings};
use crate::store::types::Comparison;

impl Operator {
    /// Settles a database that is held, by the database that was kept aside.
    pub fn settle_held(&mut self) -> Result<Comparison, RestoreError> {
        let (held, id) = self.read(|sql| {
            let id: Option<String> = settings::get(sql, settings::DATABASE_ID)?;
            Ok((hold::get(sql)?, id.unwrap_or_default()))
        })?;
        let Some(held) = held else {
            return Err(RestoreError::NotHeld {
                path: self.path().to_owned(),
            });
        };
        let now = self.now();
        let nothing = RestoreError::NothingAside;
        let old = match Old::open(held.aside.as_deref(), &id) {
            Old::Readable(old) => match &old.problem {
                Some(why) => return Err(nothing(why.clone())),
                None => old,
            },
            Old::Absent => return Err(nothing("there was no database to keep aside".to_owned())),
            Old::Unknown(why) => {
                let path = held.aside.unwrap_or_default();
                return Err(nothing(format!("{}: {why}", path.display())));
            }
        };
        let mut comparison = Comparison::default();
        comparison::pending(self.connection(), Some(&old), true, now, &mut comparison)?;
        Ok(comparison)
    }
}
