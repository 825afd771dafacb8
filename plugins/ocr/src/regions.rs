//! The connected parts of a mask, and the holes in them: of each the points that its hull is made of. What
//! `cv2.findContours` gives with `RETR_LIST`, as far as the smallest rectangle around it goes.

/// Points in whole pixels.
pub(crate) type Points = Vec<[f32; 2]>;

/// A picture of yes and no.
pub(crate) struct Mask {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) set: Vec<bool>,
}

impl Mask {
    /// Sets the pixels to the right of, below, and diagonally behind each one (`cv2.dilate` with a kernel of 2 by 2).
    pub(crate) fn dilate(&mut self) {
        for y in (0..self.height).rev() {
            for x in (0..self.width).rev() {
                let at = y * self.width + x;
                self.set[at] |= x > 0 && self.set[at - 1]
                    || y > 0 && (self.set[at - self.width] || x > 0 && self.set[at - self.width - 1]);
            }
        }
    }

    fn row(&self, y: usize) -> &[bool] {
        &self.set[y * self.width..][..self.width]
    }
}

/// Pixels of one kind beside each other, both ends included.
#[derive(Clone, Copy)]
struct Run {
    y: usize,
    from: usize,
    to: usize,
}

/// The points of each connected part, then of each hole's edge.
pub(crate) fn regions(mask: &Mask) -> Vec<Points> {
    let ends = |run: &Run| [[run.from as f32, run.y as f32], [run.to as f32, run.y as f32]];
    // Set pixels hang together at their corners, too; those between them do not.
    let parts = connected(mask, true, 1).into_iter().map(|runs| runs.iter().flat_map(ends).collect());
    let on_edge = |run: &Run| run.y == 0 || run.y + 1 == mask.height || run.from == 0 || run.to + 1 == mask.width;
    let holes = connected(mask, false, 0).into_iter().filter(|runs| !runs.iter().any(on_edge));
    parts.chain(holes.map(|runs| runs.iter().flat_map(|run| around(mask, run)).collect())).collect()
}

/// The outermost set pixels that touch a run of a hole.
fn around(mask: &Mask, run: &Run) -> Points {
    let mut points = vec![[run.from as f32 - 1.0, run.y as f32], [run.to as f32 + 1.0, run.y as f32]];
    for y in [run.y - 1, run.y + 1] {
        let row = &mask.row(y)[run.from..=run.to];
        let ends = [row.iter().position(|&set| set), row.iter().rposition(|&set| set)];
        points.extend(ends.into_iter().flatten().map(|x| [(run.from + x) as f32, y as f32]));
    }
    points
}

/// The runs of each connected part of pixels that are `set`; runs in neighbouring rows touch if they overlap, with
/// `slack` pixels to either side.
fn connected(mask: &Mask, set: bool, slack: usize) -> Vec<Vec<Run>> {
    let mut runs: Vec<Run> = vec![];
    let mut parents: Vec<usize> = vec![];
    let mut above = 0..0;
    for y in 0..mask.height {
        let first = runs.len();
        let row = mask.row(y);
        let mut x = 0;
        while let Some(from) = row[x..].iter().position(|&s| s == set).map(|at| x + at) {
            let to = row[from..].iter().position(|&s| s != set).map_or(mask.width, |at| from + at) - 1;
            parents.push(runs.len());
            runs.push(Run { y, from, to });
            x = to + 1;
        }
        // Both rows are sorted: what ends before this run begins ends before the next one, too.
        let mut next = above.start;
        for this in first..runs.len() {
            while next < above.end && runs[next].to + slack < runs[this].from {
                next += 1;
            }
            let mut other = next;
            while other < above.end && runs[other].from <= runs[this].to + slack {
                let (a, b) = (root(&mut parents, other), root(&mut parents, this));
                parents[a.max(b)] = a.min(b);
                other += 1;
            }
        }
        above = first..runs.len();
    }
    let mut parts: Vec<Vec<Run>> = vec![];
    let mut numbers = vec![usize::MAX; runs.len()];
    for (i, run) in runs.iter().enumerate() {
        let root = root(&mut parents, i);
        if numbers[root] == usize::MAX {
            numbers[root] = parts.len();
            parts.push(vec![]);
        }
        parts[numbers[root]].push(*run);
    }
    parts
}

fn root(parents: &mut [usize], mut of: usize) -> usize {
    while parents[of] != of {
        parents[of] = parents[parents[of]];
        of = parents[of];
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let set = rows.iter().flat_map(|row| row.chars().map(|c| c == '#')).collect();
        Mask { width: rows[0].len(), height: rows.len(), set }
    }

    /// Left, top, right, bottom of each region.
    fn bounds(rows: &[&str]) -> Vec<[f32; 4]> {
        let fold = |points: &Points| {
            points.iter().fold([f32::MAX, f32::MAX, 0.0, 0.0], |b, p| {
                [b[0].min(p[0]), b[1].min(p[1]), b[2].max(p[0]), b[3].max(p[1])]
            })
        };
        regions(&mask(rows)).iter().map(fold).collect()
    }

    #[test]
    fn parts_that_touch_at_a_corner_are_one() {
        assert_eq!(bounds(&["##..", "..#.", "....", "...#"]), [[0.0, 0.0, 2.0, 1.0], [3.0, 3.0, 3.0, 3.0]]);
    }

    #[test]
    fn parts_that_meet_further_down_are_one() {
        assert_eq!(bounds(&["#.#.#", "#.#.#", "#####"])[0], [0.0, 0.0, 4.0, 2.0]);
        assert_eq!(bounds(&["#.#.#", "#.#.#", "#####"]).len(), 1);
    }

    #[test]
    fn a_hole_has_an_edge_of_its_own() {
        let ring = [".......", ".#####.", ".#...#.", ".#####.", "......."];
        assert_eq!(bounds(&ring), [[1.0, 1.0, 5.0, 3.0], [1.0, 1.0, 5.0, 3.0]]);
        // Not one that leaves at a side: pixels between do not hang together at corners.
        assert_eq!(bounds(&["###", "#.#", "#.#"]).len(), 1);
        assert_eq!(bounds(&["####", "#.##", "##.#", "####"]).len(), 3);
    }

    #[test]
    fn dilation_reaches_right_and_down() {
        let mut mask = mask(&["#...", "....", "...#"]);
        mask.dilate();
        assert_eq!(mask.set.iter().map(|&s| if s { '#' } else { '.' }).collect::<String>(), "##..##.....#");
    }
}
