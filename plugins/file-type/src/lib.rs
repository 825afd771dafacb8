//! Tells what kind of file some bytes are, with the model `standard_v3_3` of the Python package `magika` 1.0.3.
//!
//! The plugin turns bytes into the model's input ([`features`]) and the model's scores into a label ([`verdict`]), by
//! the package's own rules, so that the labels equal those of `Magika().identify_bytes`. It brings no data: three
//! settings do.
//!
//! | setting | what |
//! |---|---|
//! | `model` | the name of the model (default `magika`) |
//! | `config` | the package's `models/standard_v3_3/config.min.json` |
//! | `content_types` | the package's `config/content_types_kb.min.json` |

mod config;
mod features;
mod verdict;

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Port, Signature, Tensor, nn, settings};

use config::{Config, ContentTypes};
use features::Features;
use verdict::Verdict;

struct FileType;

aimass_sdk::export_model!(FileType);

impl Model for FileType {
    fn signature() -> Signature {
        let output = |name, ty, text| Port::new(name, ty, [-1]).described(text);
        Signature::new("Tells what kind of file some bytes are")
            .input_port(Port::new("content", ElementType::Bytes, [-1]).described("whole files, one an element"))
            .output_port(output("label", ElementType::Bytes, "the kind of file, such as `rust` or `png`"))
            .output_port(output("score", ElementType::Fp32, "how sure that is, 0 to 1"))
            .output_port(output("mime_type", ElementType::Bytes, "its MIME type"))
            .output_port(output("group", ElementType::Bytes, "its group, such as `code` or `image`"))
    }

    fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
        let content = inputs.get("content")?;
        let files = content.as_bytes()?;

        let config_text = settings::require("config")?;
        let config = Config::parse(&config_text)?;
        let mut classifier = Classifier { config: &config, graph: None };
        let guesses = files.iter().map(|file| classifier.guess(file)).collect::<Result<Vec<_>, _>>()?;

        let kinds_text = settings::require("content_types")?;
        let kinds = ContentTypes::parse(&kinds_text, guesses.iter().map(|g| g.label))?;
        let verdicts = guesses.iter().map(|g| g.settle(&kinds)).collect::<Result<Vec<Verdict<'_>>, _>>()?;

        let scores: Vec<f32> = verdicts.iter().map(|v| v.score).collect();
        let shape = content.shape();
        Ok(Outputs::new()
            .with(Tensor::from_bytes("label", shape, verdicts.iter().map(|v| v.label))?)
            .with(Tensor::from_slice("score", shape, &scores)?)
            .with(Tensor::from_bytes("mime_type", shape, verdicts.iter().map(|v| v.mime_type))?)
            .with(Tensor::from_bytes("group", shape, verdicts.iter().map(|v| v.group))?))
    }
}

/// Asks the model about a file, where the package's rules want it asked.
struct Classifier<'a> {
    config: &'a Config<'a>,
    /// Loaded at the first file that needs it: an empty or tiny file does not.
    graph: Option<nn::Graph>,
}

impl<'a> Classifier<'a> {
    fn guess(&mut self, file: &[u8]) -> Result<verdict::Guess<'a>, Fault> {
        let input = match Features::of(file, self.config) {
            Features::Decided(label) => return Ok(verdict::Guess::certain(label)),
            Features::AskModel(input) => input,
        };
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => none.insert(load()?),
        };
        // File by file: the platform prepares a model for each batch size it meets, and batches calls itself.
        let width = u32::try_from(input.len()).map_err(|_| Fault::internal("the configuration is too large"))?;
        let outputs = graph.compute([("bytes", nn::Tensor::from_slice([1, width], &input)?)])?;
        let scores = outputs.get("target_label")?.to_vec::<f32>()?;
        verdict::Guess::best(&scores, self.config)
    }
}

fn load() -> Result<nn::Graph, Fault> {
    let name = settings::get("model")?;
    Ok(nn::Graph::load_by_name(name.as_deref().unwrap_or("magika"))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use aimass_sdk::testing;

    const CONFIG: &str = r#"{"beg_size":8,"mid_size":0,"end_size":8,"use_inputs_at_offsets":false,
        "medium_confidence_threshold":0.5,"min_file_size_for_dl":4,"padding_token":256,"block_size":16,
        "target_labels_space":["png","rust","randomtxt"],"thresholds":{"rust":0.9},"overwrite_map":{"randomtxt":"txt"}}"#;
    const KINDS: &str = r#"{
        "png":{"mime_type":"image/png","group":"image","description":null,"extensions":[],"is_text":false},
        "rust":{"mime_type":null,"group":"code","description":"Rust","extensions":["rs"],"is_text":true},
        "txt":{"mime_type":"text/plain","group":"text","description":"","extensions":[],"is_text":true},
        "empty":{"mime_type":"inode/x-empty","group":"inode","description":"","extensions":[],"is_text":false},
        "unknown":{"mime_type":null,"group":null,"description":"","extensions":[],"is_text":false}}"#;

    /// The labels for `files` if the model gives these scores.
    fn labels(files: &[&[u8]], scores: [f32; 3]) -> Vec<String> {
        let outputs = infer(files, scores).unwrap();
        outputs.get("label").unwrap().as_strs().unwrap().into_iter().map(Into::into).collect()
    }

    fn infer(files: &[&[u8]], scores: [f32; 3]) -> Result<Outputs, Fault> {
        testing::settings([("config", CONFIG), ("content_types", KINDS)]);
        testing::model("magika", move |inputs| {
            assert_eq!(inputs[0].1.dimensions(), [1, 16]);
            Ok(vec![("target_label".into(), nn::Tensor::from_slice([1, 3], &scores)?)])
        });
        let content = Tensor::from_bytes("content", [files.len() as u64], files)?;
        FileType::infer(Inputs::from(vec![content]))
    }

    #[test]
    fn a_confident_score_decides() {
        assert_eq!(labels(&[b"fn main() {}"], [0.02, 0.95, 0.03]), ["rust"]);
    }

    #[test]
    fn a_score_under_the_kinds_threshold_falls_back_to_text_or_unknown() {
        assert_eq!(labels(&[b"fn main() {}"], [0.1, 0.8, 0.1]), ["txt"]);
        assert_eq!(labels(&[b"fn main() {}"], [0.4, 0.3, 0.3]), ["unknown"]);
    }

    #[test]
    fn a_kind_is_overwritten_by_the_map() {
        assert_eq!(labels(&[b"dfjkg dfg"], [0.0, 0.1, 0.9]), ["txt"]);
    }

    #[test]
    fn empty_and_tiny_files_need_no_model() {
        assert_eq!(
            labels(&[b"", b"abc", b"\xff\xfe", b"   \n\t  a  "], [1.0, 0.0, 0.0]),
            ["empty", "txt", "unknown", "txt"]
        );
    }

    #[test]
    fn mime_type_and_group_come_from_the_knowledge_base() {
        let outputs = infer(&[b"\x89PNG....", b""], [0.9, 0.05, 0.05]).unwrap();
        assert_eq!(outputs.get("mime_type").unwrap().as_strs().unwrap(), ["image/png", "inode/x-empty"]);
        assert_eq!(outputs.get("group").unwrap().as_strs().unwrap(), ["image", "inode"]);
        assert_eq!(*outputs.get("score").unwrap().as_slice::<f32>().unwrap(), [0.9, 1.0]);
    }

    #[test]
    fn a_missing_setting_is_named() {
        let content = Tensor::from_bytes("content", [1], ["x"]).unwrap();
        let fault = FileType::infer(Inputs::from(vec![content])).unwrap_err();
        assert!(fault.to_string().contains("`config`"), "{fault}");
    }
}
