//! A line's direction and its text: the package's `TextClassifier` and `TextRecognizer`.

use aimass_sdk::{Fault, nn};
use imaging::{CHANNELS, Image};

use crate::crop::upside_down;
use crate::detect::sole;
use crate::pixels::planes;

/// Both models look at lines of this height.
const HEIGHT: usize = 48;
/// The classifier's width: what is longer is squeezed.
const CLASSIFIED: usize = 192;
/// How sure the classifier must be that a line stands on its head.
const TURNED: f32 = 0.9;
/// The reader's least width.
const LEAST_WIDTH: usize = 320;
/// Widths that lines are filled up to with [`Filling::Few`]. What is longer than the last is squeezed.
const WIDTHS: [usize; 7] = [LEAST_WIDTH, 480, 640, 960, 1280, 1920, 2560];
/// How many lines the package reads together.
const TOGETHER: usize = 6;

/// How far lines are filled up for the reader, whose answer depends on it a little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Filling {
    /// To one of a few widths, since the platform prepares a model for every width that it meets.
    Few,
    /// Exactly as the package does it: of lines sorted by their shape, six at a time to the longest one of them.
    Package,
}

/// A line that was read.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) score: f32,
}

pub(crate) struct Reader<'a> {
    classifier: nn::Graph,
    reader: nn::Graph,
    /// By class, from 1; class 0 is the blank, the last one the space.
    characters: Vec<&'a str>,
    filling: Filling,
}

impl<'a> Reader<'a> {
    /// `characters` has one a line.
    pub(crate) fn new(classifier: nn::Graph, reader: nn::Graph, characters: &'a str, filling: Filling) -> Self {
        let characters = characters.strip_suffix('\n').unwrap_or(characters).split('\n').chain([" "]).collect();
        Self { classifier, reader, characters, filling }
    }

    /// Reads lines, turning those first that stand on their heads.
    pub(crate) fn read(&self, lines: Vec<Image>) -> Result<Vec<Line>, Fault> {
        let upright = lines.into_iter().map(|line| self.upright(line)).collect::<Result<Vec<_>, _>>()?;
        let filled = match self.filling {
            Filling::Few => upright.iter().map(|line| few(width(line))).collect(),
            Filling::Package => package(&upright.iter().map(ratio).collect::<Vec<_>>()),
        };
        let read = |(line, filled): (&Image, usize)| {
            let answer = self.reader.compute([("x", input(line, filled)?)])?;
            self.decode(&sole(&answer, "softmax_11.tmp_0", "steps")?.to_vec::<f32>()?)
        };
        upright.iter().zip(filled).map(read).collect()
    }

    fn upright(&self, line: Image) -> Result<Image, Fault> {
        let answer = self.classifier.compute([("x", input(&line, CLASSIFIED)?)])?;
        let answer = sole(&answer, "save_infer_model/scale_0.tmp_1", "label")?.to_vec::<f32>()?;
        match answer[..] {
            [upright, turned] if turned > upright && turned > TURNED => Ok(upside_down(&line)),
            [_, _] => Ok(line),
            _ => Err(Fault::internal(format!("the classifier gives {} numbers, not two", answer.len()))),
        }
    }

    /// From scores, a class after the other and a step after the other, to text: the best class of each step, without
    /// repetitions and blanks (connectionist temporal classification, Graves et al. 2006, its best path).
    fn decode(&self, steps: &[f32]) -> Result<Line, Fault> {
        let classes = self.characters.len() + 1;
        if steps.len() % classes != 0 {
            let why = format!("the reader's {} scores are not of the {classes} classes of `characters`", steps.len());
            return Err(Fault::internal(why));
        }
        let (mut text, mut sum, mut count, mut before) = (String::new(), 0f64, 0u32, 0);
        for scores in steps.chunks_exact(classes) {
            let (mut class, mut highest) = (0, f32::NEG_INFINITY);
            for (i, &score) in scores.iter().enumerate() {
                if score > highest {
                    (class, highest) = (i, score);
                }
            }
            if class != before
                && let Some(character) = class.checked_sub(1).and_then(|at| self.characters.get(at))
            {
                text.push_str(character);
                sum += f64::from(highest);
                count += 1;
            }
            before = class;
        }
        let score = if count == 0 { 0.0 } else { (sum / f64::from(count)) as f32 };
        Ok(Line { text, score })
    }
}

fn ratio(line: &Image) -> f64 {
    line.width as f64 / line.height as f64
}

/// How wide a line is at the models' height.
fn width(line: &Image) -> usize {
    (HEIGHT as f64 * ratio(line)).ceil() as usize
}

fn few(width: usize) -> usize {
    WIDTHS.into_iter().find(|&w| w >= width).unwrap_or(WIDTHS[WIDTHS.len() - 1])
}

/// The widths that the package fills lines of these ratios up to.
fn package(ratios: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ratios.len()).collect();
    order.sort_by(|&a, &b| ratios[a].total_cmp(&ratios[b]));
    let mut widths = vec![0; ratios.len()];
    for group in order.chunks(TOGETHER) {
        let longest = group.iter().map(|&i| ratios[i]).fold(LEAST_WIDTH as f64 / HEIGHT as f64, f64::max);
        group.iter().for_each(|&i| widths[i] = (HEIGHT as f64 * longest) as usize);
    }
    widths
}

/// A line as the models take it: at their height, squeezed into this width or filled up to it.
fn input(line: &Image, filled: usize) -> Result<nn::Tensor, Fault> {
    let resized = imaging::resize(line, (line.width, line.height), (width(line).clamp(1, filled), HEIGHT));
    Ok(nn::Tensor::from_slice([1, CHANNELS as u32, HEIGHT as u32, filled as u32], &planes(&resized, filled))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use aimass_sdk::testing;

    fn reader(characters: &str) -> Reader<'_> {
        testing::model("any", |inputs| Ok(inputs));
        let graph = || nn::Graph::load_by_name("any").unwrap();
        Reader::new(graph(), graph(), characters, Filling::Few)
    }

    fn steps(classes: &[usize]) -> Vec<f32> {
        classes.iter().flat_map(|&best| (0..4).map(move |c| if c == best { 0.5 } else { 0.1 })).collect()
    }

    #[test]
    fn repetitions_and_blanks_are_left_out() {
        let line = reader("a\nb\n").decode(&steps(&[0, 1, 1, 0, 1, 2, 3, 3, 2, 0])).unwrap();
        assert_eq!((line.text.as_str(), line.score), ("aab b", 0.5));
    }

    #[test]
    fn a_line_of_blanks_is_empty_and_unsure() {
        let line = reader("a\nb").decode(&steps(&[0, 0])).unwrap();
        assert_eq!((line.text.as_str(), line.score), ("", 0.0));
    }

    #[test]
    fn characters_of_another_model_are_refused() {
        assert!(reader("a\nb\nc").decode(&steps(&[0])).unwrap_err().to_string().contains("5 classes"));
    }

    #[test]
    fn a_line_on_its_head_is_turned() {
        let mut line = Image::black(100, 48);
        line.pixels[..3].fill(255);
        testing::model("cls", |_| Ok(vec![("label".into(), nn::Tensor::from_slice([1, 2], &[0.05f32, 0.95])?)]));
        testing::model("rec", |inputs| {
            let pixels = inputs[0].1.to_vec::<f32>()?;
            // The white pixel is the last one of the line; behind it zeros fill up.
            assert_eq!((pixels[0], pixels[47 * 320 + 99], pixels[47 * 320 + 100]), (-1.0, 1.0, 0.0));
            Ok(vec![("steps".into(), nn::Tensor::from_slice([1, 1, 3], &[0.0, 1.0f32, 0.0])?)])
        });
        let graph = |name| nn::Graph::load_by_name(name).unwrap();
        let reader = Reader::new(graph("cls"), graph("rec"), "a", Filling::Few);
        assert_eq!(reader.read(vec![line]).unwrap()[0].text, "a");
    }

    #[test]
    fn lines_are_filled_up_to_few_widths_or_to_the_packages() {
        assert_eq!([1, 320, 321, 2560, 9999].map(few), [320, 320, 480, 2560, 2560]);
        let widths = package(&[20.0, 1.0, 2.0, 3.0, 9.5, 5.0, 6.0]);
        assert_eq!(widths, [960, 456, 456, 456, 456, 456, 456]);
        assert_eq!(package(&[1.0, 2.0]), [320, 320]);
    }
}
