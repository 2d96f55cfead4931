//! Whether each list is on one page.

use crate::LogError;
use crate::history::id_pass;
use crate::rows::Rows;

/// Lists of one pass and their pages, as they come in the order of the output.
#[derive(Default)]
pub(crate) struct ListPages {
    seen: Vec<(i64, i64)>,
}

impl ListPages {
    /// Takes the next rows, in their order, and keeps the lists of this pass.
    pub(crate) fn add(&mut self, rows: &Rows, pass: u32, passes: u32) {
        for (&list, &page) in rows.list.iter().zip(&rows.page) {
            if self.seen.last() != Some(&(list, page)) && id_pass(list, passes) == pass {
                self.seen.push((list, page));
            }
        }
    }

    /// # Errors
    /// [`LogError::ListOnManyPages`] with the first such list by id.
    pub(crate) fn check(mut self) -> Result<(), LogError> {
        self.seen.sort_unstable();
        self.seen.dedup();
        let same_list = |pair: &&[(i64, i64)]| pair[0].0 == pair[1].0;
        match self.seen.windows(2).find(same_list) {
            None => Ok(()),
            Some(pair) => {
                let (list_id, first) = pair[0];
                let last = self.seen.iter().rev().find(|(list, _)| *list == list_id);
                Err(LogError::ListOnManyPages {
                    list_id,
                    first,
                    second: last.map_or(first, |(_, page)| *page),
                })
            }
        }
    }
}
