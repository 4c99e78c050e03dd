//! Columns aligned by elastic tabstops, as Go's text/tabwriter does it for kubectl: a cell ends with a tab, and neighbouring lines that
//! have a cell in a column share its width; a line's last cell belongs to no column.

/// How columns are padded.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The least width of a column, padding included.
    pub min_width: usize,
    /// Spaces between a column's widest cell and the next column.
    pub padding: usize,
}

/// `kubectl get`.
pub const TABLE: Style = Style { min_width: 6, padding: 3 };
/// `kubectl describe`.
pub const DESCRIBE: Style = Style { min_width: 0, padding: 2 };

/// Aligns tab-separated text.
pub fn align(text: &str, style: Style) -> String {
    write(text, style, None)
}

/// As [`align`], with columns at least as wide as they were before (`earlier`, which is brought up to date): for rows that are printed as they
/// come (liggitt/tabwriter's RememberWidths).
pub fn align_after(text: &str, style: Style, earlier: &mut Vec<usize>) -> String {
    write(text, style, Some(earlier))
}

fn write(text: &str, style: Style, earlier: Option<&mut Vec<usize>>) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut writer = Writer { style, lines: &lines, widths: Vec::new(), earlier, out: String::with_capacity(text.len() * 2) };
    writer.format(0, lines.len());
    writer.out
}

struct Writer<'t> {
    style: Style,
    lines: &'t [Vec<&'t str>],
    widths: Vec<usize>,
    earlier: Option<&'t mut Vec<usize>>,
    out: String,
}

impl Writer<'_> {
    /// Writes the lines `start..end`, whose cells left of the current column have their widths.
    fn format(&mut self, mut start: usize, end: usize) {
        let column = self.widths.len();
        let mut at = start;
        while at < end {
            if !self.has_cell(at, column) {
                at += 1;
                continue;
            }
            self.write(start, at);
            start = at;
            let mut width = self.style.min_width;
            while at < end && self.has_cell(at, column) {
                width = width.max(self.lines[at][column].chars().count() + self.style.padding);
                at += 1;
            }
            if let Some(earlier) = self.earlier.as_deref_mut() {
                earlier.resize(earlier.len().max(column + 1), 0);
                width = width.max(earlier[column]);
                earlier[column] = width;
            }
            self.widths.push(width);
            self.format(start, at);
            self.widths.pop();
            start = at;
        }
        self.write(start, end);
    }

    fn has_cell(&self, line: usize, column: usize) -> bool {
        column + 1 < self.lines[line].len()
    }

    fn write(&mut self, start: usize, end: usize) {
        for line in &self.lines[start..end] {
            for (column, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(column) {
                    self.out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_block() {
        let text = "a\tb\tc\naaaa\tbbb\tcccc\nalone\nx\ty\n";
        assert_eq!(align(text, DESCRIBE), "a     b    c\naaaa  bbb  cccc\nalone\nx  y\n");
    }

    #[test]
    fn tables_have_columns_of_six_at_least() {
        assert_eq!(align("A\tAGE\n\u{fc}\t5s\n", TABLE), "A     AGE\n\u{fc}     5s\n");
    }

    #[test]
    fn later_rows_keep_the_columns() {
        let mut widths = Vec::new();
        assert_eq!(align_after("NAME\tAGE\nlonger\t5s\n", TABLE, &mut widths), "NAME     AGE\nlonger   5s\n");
        assert_eq!(align_after("a\t6s\n", TABLE, &mut widths), "a        6s\n");
    }

    #[test]
    fn a_trailing_tab_pads_the_last_cell() {
        assert_eq!(align("a\t\nbbb\t\n", DESCRIBE), "a    \nbbb  \n");
    }
}
