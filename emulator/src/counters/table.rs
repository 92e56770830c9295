//! Counters as text.

use std::fmt;

use super::roofline::bytes;
use super::{Class, Count, Counters, Instruction};

/// The instructions that a table shows.
const HOTTEST: usize = 8;

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(crate) fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "-".to_owned() }
}

/// A time with a unit that suits it.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s if s >= 1e-6 => format!("{:.2} us", s * 1e6),
        s => format!("{:.2} ns", s * 1e9),
    }
}

/// Rows of cells as text, indented: the first column to the left, the others to the right.
pub(crate) fn columns(rows: &[Vec<String>], indent: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if n == 0 {
                line += &format!("{cell:<width$}");
            } else {
                line += &format!("  {cell:>width$}");
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

impl Counters {
    fn classes(&self) -> String {
        let all = self.total();
        let mut rows = vec![row(&["instructions", "of warps", "share", "of threads", "lanes"])];
        let line = |name: String, count: Count| {
            let share = percent(count.warps as f64, all.warps as f64);
            vec![name, grouped(count.warps), share, grouped(count.threads), format!("{:.1}", count.lanes())]
        };
        let classes = Class::ALL.map(|class| (class, self.class(class)));
        let executed = classes.into_iter().filter(|(_, count)| count.warps > 0);
        rows.extend(executed.map(|(class, count)| line(class.to_string(), count)));
        rows.push(line("all".to_owned(), all));
        columns(&rows, 2)
    }

    fn global(&self) -> String {
        let mut rows = vec![row(&["global memory", "bytes asked for", "sectors", "bytes moved", "used", "different"])];
        let loads = self.sum(|one| is_load(one.class));
        let stores = self.sum(|one| is_store(one.class));
        let atomics = self.class(Class::Atomic);
        let parts = [
            ("loads", loads, grouped(bytes(self.loaded_sectors))),
            ("stores", stores, grouped(bytes(self.stored_sectors))),
            ("atomics", atomics, String::new()),
        ];
        for (name, count, different) in parts.into_iter().filter(|(_, count, _)| count.sectors > 0) {
            let used = percent(count.efficiency(), 1.0);
            let (asked, moved) = (grouped(count.global_bytes), grouped(count.moved_bytes()));
            rows.push(vec![name.to_owned(), asked, grouped(count.sectors), moved, used, different]);
        }
        if rows.len() > 1 { columns(&rows, 2) } else { String::new() }
    }

    fn shared(&self) -> String {
        let mut rows = vec![row(&["shared memory", "bytes asked for", "passes", "of them conflicts"])];
        let parts = [
            ("loads", self.sum(|one| is_load(one.class))),
            ("stores", self.sum(|one| is_store(one.class))),
            ("atomics", self.class(Class::Atomic)),
        ];
        for (name, count) in parts.into_iter().filter(|(_, count)| count.passes > 0) {
            rows.push(row(&[
                name,
                &grouped(count.shared_bytes),
                &grouped(count.passes),
                &format!("{} ({})", grouped(count.conflicts), percent(count.conflicts as f64, count.passes as f64)),
            ]));
        }
        if rows.len() > 1 { columns(&rows, 2) } else { String::new() }
    }

    fn hottest_table(&self) -> String {
        let mut rows = vec![row(&["hottest instructions", "PTX line", "warp-instr.", "sectors", "passes", "source"])];
        for one in self.hottest(HOTTEST) {
            let Instruction { opcode, ptx_line, source, count, .. } = one;
            let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            let source = source.as_ref().map_or_else(String::new, |(path, line)| format!("{}:{line}", file(path)));
            let [warps, sectors, passes] = [count.warps, count.sectors, count.passes].map(grouped);
            rows.push(vec![opcode.clone(), ptx_line.to_string(), warps, sectors, passes, source]);
        }
        columns(&rows, 2)
    }
}

fn is_load(class: Class) -> bool {
    matches!(class, Class::GlobalLoad | Class::SharedLoad | Class::LocalLoad | Class::GenericLoad | Class::AsyncCopy)
}

fn is_store(class: Class) -> bool {
    matches!(class, Class::GlobalStore | Class::SharedStore | Class::LocalStore | Class::GenericStore)
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, launches, grid, block, shared_bytes, blocks, .. } = self;
        let number = |number: u64, one: &str, more: &str| {
            format!("{} {}", grouped(number), if number == 1 { one } else { more })
        };
        let (launches, blocks) = (number(*launches, "launch", "launches"), number(*blocks, "block", "blocks"));
        let shape = |[x, y, z]: [u32; 3]| format!("{x} x {y} x {z}");
        writeln!(f, "{kernel}")?;
        writeln!(
            f,
            "  {launches}, {blocks}; grid {}, block {}, {} of shared memory",
            shape(*grid),
            shape(*block),
            number(*shared_bytes, "byte", "bytes")
        )?;
        let local = self.total().local_bytes;
        let operations = grouped(self.floating_point_operations());
        for part in [self.classes(), self.global(), self.shared()].iter().filter(|part| !part.is_empty()) {
            writeln!(f, "\n{}", part.trim_end())?;
        }
        writeln!(f, "\n  floating-point operations: {operations}; bytes of local memory: {}", grouped(local))?;
        write!(f, "\n{}", self.hottest_table())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let numbers = [0, 999, 1000, 12_345, 123_456, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "123,456", "1,234,567"]);
        assert_eq!([2.0, 0.0125, 1.5e-5, 3e-9].map(time), ["2.00 s", "12.50 ms", "15.00 us", "3.00 ns"]);
        assert_eq!((percent(1.0, 8.0), percent(1.0, 0.0)), ("12.5 %".to_owned(), "-".to_owned()));
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![row(&["a", "number"]), row(&["longer", "7", "x"])];
        assert_eq!(columns(&rows, 2), "  a       number\n  longer       7  x\n");
    }
}
