//! The text of a description while it grows: indented lines whose tabs become columns.

use crate::cli::tabwriter::{self, DESCRIBE};

/// Lines to be aligned; `flush` ends the columns so far.
#[derive(Default)]
pub(super) struct Doc {
    done: String,
    open: String,
}

impl Doc {
    /// One line, indented by two spaces a level.
    pub fn line(&mut self, level: usize, text: impl AsRef<str>) {
        self.open.push_str(&"  ".repeat(level));
        self.open.push_str(text.as_ref());
        self.open.push('\n');
    }

    /// Lines after this share no column with those before.
    pub fn flush(&mut self) {
        self.done.push_str(&tabwriter::align(&self.open, DESCRIBE));
        self.open.clear();
    }

    /// The aligned text.
    pub fn finish(mut self) -> String {
        self.flush();
        self.done
    }
}
