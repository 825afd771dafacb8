//! A case of the suite: a model of (mostly) one node, its inputs, and the outputs that are expected.

use std::fs;
use std::path::{Path, PathBuf};

use aimass_core::{ElementType, Tensor};
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, TensorProto};

use super::constant;

/// How a case's model is shown to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The file as the suite has it: everything is an input, shapes and axes as well.
    AsItStands,
    /// As exporters write models: **the first input stays an input, and every other one becomes an initialiser** with
    /// the value that the test gives it. The first input is the data in nearly all of ONNX's operators; what follows
    /// are weights, scales, axes, shapes. This is the one rule; [`constant`] carries it out.
    Constant,
}

impl Form {
    pub(super) const ALL: [Self; 2] = [Self::AsItStands, Self::Constant];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AsItStands => "as it stands",
            Self::Constant => "constant",
        }
    }
}

pub(super) struct Case {
    pub(super) name: String,
    /// How many inputs it has.
    pub(super) inputs: usize,
    folder: PathBuf,
}

/// All cases, by name.
pub(super) fn all() -> Vec<Case> {
    let root = aimass_toolchain::fetch::onnx_node_tests(&aimass_toolchain::Cache::user()).unwrap();
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut cases: Vec<Case> = folders
        .map(|folder| {
            let inputs = (0..).take_while(|n| file(&folder, "input", *n).exists()).count();
            Case { name: folder.file_name().unwrap().to_str().unwrap().to_owned(), inputs, folder }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 1_765, "the suite is whole");
    cases
}

impl Case {
    /// The ONNX file in this form.
    pub(super) fn model(&self, form: Form) -> Vec<u8> {
        let model = fs::read(self.folder.join("model.onnx")).unwrap();
        match form {
            Form::AsItStands => model,
            Form::Constant => {
                let names = input_names(&model);
                let values = (1..self.inputs).map(|n| (names[n].clone(), self.read("input", n))).collect::<Vec<_>>();
                constant::fix(&model, &values)
            }
        }
    }

    /// What this form's model is given.
    pub(super) fn inputs(&self, form: Form) -> Result<Vec<Tensor>, String> {
        let names = input_names(&fs::read(self.folder.join("model.onnx")).unwrap());
        let left = if form == Form::Constant { self.inputs.min(1) } else { self.inputs };
        (0..left).map(|n| tensor(&names[n], &self.read("input", n))).collect()
    }

    /// What it must answer.
    pub(super) fn outputs(&self) -> Result<Vec<Tensor>, String> {
        let there = (0..).take_while(|n| file(&self.folder, "output", *n).exists());
        there.map(|n| tensor("expected", &self.read("output", n))).collect()
    }

    fn read(&self, what: &str, n: usize) -> Vec<u8> {
        fs::read(file(&self.folder, what, n)).unwrap()
    }
}

fn file(folder: &Path, what: &str, n: usize) -> PathBuf {
    folder.join(format!("test_data_set_0/{what}_{n}.pb"))
}

fn input_names(model: &[u8]) -> Vec<String> {
    let model = ModelProto::decode(model).unwrap();
    model.graph.unwrap().input.into_iter().map(|value| value.name).collect()
}

/// The platform's form of a TensorProto: raw bytes, or the typed list that `onnx.proto` says for its type.
fn tensor(name: &str, proto: &[u8]) -> Result<Tensor, String> {
    let proto = TensorProto::decode(proto).map_err(|e| format!("the test's value of `{name}`: {e}"))?;
    let narrow = |size: usize| proto.int32_data.iter().flat_map(|n| n.to_le_bytes()[..size].to_vec()).collect();
    let wide = |size: usize| proto.uint64_data.iter().flat_map(|n| n.to_le_bytes()[..size].to_vec()).collect();
    let (element_type, typed): (_, Vec<u8>) = match DataType::try_from(proto.data_type) {
        Ok(DataType::Float) => (ElementType::Fp32, proto.float_data.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Ok(DataType::Double) => (ElementType::Fp64, proto.double_data.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Ok(DataType::Int64) => (ElementType::Int64, proto.int64_data.iter().flat_map(|n| n.to_le_bytes()).collect()),
        Ok(DataType::Int32) => (ElementType::Int32, narrow(4)),
        Ok(DataType::Int16) => (ElementType::Int16, narrow(2)),
        Ok(DataType::Uint16) => (ElementType::Uint16, narrow(2)),
        Ok(DataType::Float16) => (ElementType::Fp16, narrow(2)),
        Ok(DataType::Bfloat16) => (ElementType::Bf16, narrow(2)),
        Ok(DataType::Int8) => (ElementType::Int8, narrow(1)),
        Ok(DataType::Uint8) => (ElementType::Uint8, narrow(1)),
        Ok(DataType::Bool) => (ElementType::Bool, narrow(1)),
        Ok(DataType::Uint32) => (ElementType::Uint32, wide(4)),
        Ok(DataType::Uint64) => (ElementType::Uint64, wide(8)),
        Ok(DataType::String) => {
            let shape: Vec<u64> = proto.dims.iter().map(|&d| d as u64).collect();
            return Tensor::from_bytes_elements(name, shape, &proto.string_data).map_err(|e| e.to_string());
        }
        other => return Err(format!("the test's value of `{name}` has the type {other:?}")),
    };
    let data = if proto.raw_data.is_empty() { typed } else { proto.raw_data };
    let shape: Vec<u64> = proto.dims.iter().map(|&d| d as u64).collect();
    Tensor::new(name, element_type, shape, data).map_err(|e| e.to_string())
}
