//! Divides a change of many rows into steps.

/// The rows of the step that is being put together.
#[derive(Debug)]
pub struct RowBudget {
    most: usize,
    spent: usize,
    is_full: bool,
}

impl RowBudget {
    pub fn of(rows: usize) -> Self {
        Self {
            most: rows,
            spent: 0,
            is_full: false,
        }
    }

    /// Takes the rows of a change; false if they don't fit. Then the step is full, so that nothing
    /// overtakes that change. A change that fits into no step has one to itself.
    pub fn spend(&mut self, rows: usize) -> bool {
        let fits = self.spent == 0 || (!self.is_full && self.spent + rows <= self.most);
        self.is_full = !fits;
        self.spent += if fits { rows } else { 0 };
        fits
    }

    /// Makes room for changes of another kind, which may overtake those that didn't fit.
    pub fn grow(&mut self, rows: usize) {
        self.most += rows;
        self.is_full = false;
    }

    /// How many of these changes, from the first on, belong to the step.
    pub fn spend_on<T>(&mut self, changes: &[T], rows: impl Fn(&T) -> usize) -> usize {
        changes
            .iter()
            .take_while(|change| self.spend(rows(change)))
            .count()
    }
}

#[cfg(test)]
mod tests;
