//! The operators, each with what must hold so that wonnx is right. A comment says what happens otherwise.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto};

use super::Graph;
use super::sizes::{count, exact_dispatch, matrices};

/// The padding of 3×3 weights applies to these kernels.
const THREE: [i64; 2] = [3, 3];

impl Graph<'_> {
    pub(super) fn rule(&self, node: &NodeProto) -> Result<(), String> {
        match node.op_type.as_str() {
            "Relu" | "Elu" | "Sigmoid" | "Tanh" | "Softsign" | "Abs" | "Neg" | "Exp" | "Log" | "Sqrt"
            | "Reciprocal" | "Floor" | "Ceil" | "Round" | "Sign" | "Sin" | "Cos" | "Tan" | "Asin" | "Acos" | "Atan"
            | "Sinh" | "Cosh" | "Asinh" | "Acosh" | "Atanh" => self.unary(node),
            "Clip" => self.clip(node),
            "Add" | "Sub" | "Mul" | "Div" | "PRelu" => self.binary(node),
            "Pow" => self.pow(node),
            "Cast" => self.cast(node),
            "Gather" => self.gather(node),
            "MatMul" => self.matmul(node),
            "Gemm" => self.gemm(node),
            "Conv" => self.conv(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" => self.images(node).map(|_| ()),
            "BatchNormalization" => self.batch_normalization(node),
            "Softmax" => self.softmax(node),
            "Transpose" => Ok(()),
            "Concat" => self.concat(node),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" => self.reduce(node),
            "Reshape" => self.constant(node, 1).map(|_| ()),
            // Anything but the one input is a panic: axes as an input, the mask of Dropout.
            "Identity" | "Flatten" | "Squeeze" | "Unsqueeze" | "Dropout" => inputs(node, 1..=1),
            _ => Err("the operator is not on the list of what it computes rightly".into()),
        }
    }

    /// Four elements a thread, and no bounds are checked.
    fn unary(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 1..=1)?;
        exact_dispatch(count(self.shape(&node.output[0])?).div_ceil(4))
    }

    /// The device's power is exp2(y · log2(x)): none for a base below 0.
    fn pow(&self, node: &NodeProto) -> Result<(), String> {
        let base = self.makers.get(node.input[0].as_str()).map(|n| n.op_type.as_str());
        if base != Some("Abs") {
            return Err("its base may be below 0".into());
        }
        self.binary(node)
    }

    /// To the indices of a `Gather`, and to nothing else.
    fn cast(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 1..=1)?;
        if int(node, "to") != Some(DataType::Int32 as i64) {
            return Err("it does not cast to i32".into());
        }
        exact_dispatch(count(self.shape(&node.output[0])?).div_ceil(4))
    }

    /// Rows, each copied by as many threads as it has chunks of four, two or one.
    fn gather(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 2..=2)?;
        let ([_, row], indices) = (self.shape(&node.input[0])?, self.shape(&node.input[1])?) else {
            return Err("it does not choose rows of a matrix".into());
        };
        let cast = self.makers.get(node.input[1].as_str()).is_some_and(|n| n.op_type == "Cast");
        let constant = self.constants.get(node.input[1].as_str());
        if !cast && constant.is_none_or(|t| t.data_type != DataType::Int32 as i32) {
            return Err("its indices are no i32".into());
        }
        let chunk = if row % 4 == 0 { 4 } else { 1 + u64::from(row % 2 == 0) };
        exact_dispatch(count(indices)).and(exact_dispatch(*row as u64 / chunk))
    }

    /// The bounds are printed into the shader with one digit behind the point; none at all is printed as `inf`.
    fn clip(&self, node: &NodeProto) -> Result<(), String> {
        for position in [1, 2] {
            let bound = match self.constant(node, position) {
                Ok(tensor) => single_float(tensor),
                // Before operator set 11 the bounds are attributes, which wonnx reads as lists.
                Err(_) => None,
            };
            let bound = bound.ok_or("both bounds must be constants")?;
            if format!("{bound:.1}").parse() != Ok(bound) {
                return Err(format!("its bound {bound} has more than one digit behind the point"));
            }
        }
        Ok(())
    }

    fn binary(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 2..=2)?;
        let out = self.shape(&node.output[0])?;
        if self.shape(&node.input[0])? == out && self.shape(&node.input[1])? == out {
            return exact_dispatch(count(out).div_ceil(4));
        }
        exact_dispatch(count(out))
    }

    fn matmul(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 2..=2)?;
        let (a, b) = (self.shape(&node.input[0])?, self.shape(&node.input[1])?);
        match (a, b) {
            // The columns of a stack of single rows are counted at the wrong axis.
            ([_, .., 1, _], _) if a.len() > 2 => Err("it multiplies a stack of single rows".into()),
            ([stack_a @ .., m, k], [stack_b @ .., _, n]) if stack_a == stack_b => matrices(*m, *k, *n, count(stack_a)),
            _ => Err(format!("shapes {a:?} and {b:?}, and it broadcasts no stacks of matrices")),
        }
    }

    fn gemm(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 2..=3)?;
        if int(node, "transA").unwrap_or(0) != 0 || int(node, "transB").unwrap_or(0) != 0 {
            return Err("it transposes".into());
        }
        if float(node, "alpha").unwrap_or(1.0) != 1.0 || float(node, "beta").unwrap_or(1.0) != 1.0 {
            return Err("it scales".into());
        }
        let ([m, k], [_, n]) = (self.shape(&node.input[0])?, self.shape(&node.input[1])?) else {
            return Err("its inputs are no matrices".into());
        };
        // A bias that is one number, or one a row, is read as if it were one a column.
        if let Some(bias) = node.input.get(2).filter(|b| !b.is_empty()) {
            let bias = self.shape(bias)?;
            if bias != [*n] && bias != [1, *n] {
                return Err(format!("its bias has the shape {bias:?}, and [{n}] is computed rightly"));
            }
        }
        matrices(*m, *k, *n, 1)
    }

    /// The input's four dimensions; other ranks are refused.
    fn images(&self, node: &NodeProto) -> Result<[usize; 4], String> {
        let shape = self.shape(&node.input[0])?;
        shape.try_into().map_err(|_| format!("its input has the shape {shape:?}, and images have four dimensions"))
    }

    fn conv(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 2..=3)?;
        self.images(node)?;
        let kernel = ints(node, "kernel_shape").ok_or("it has no kernel_shape")?;
        let strides = ints(node, "strides").unwrap_or(&[1, 1]);
        let dilations = ints(node, "dilations").unwrap_or(&[1, 1]);
        let pads = ints(node, "pads").unwrap_or(&[0, 0, 0, 0]);
        if [kernel.len(), strides.len(), dilations.len()] != [2, 2, 2] || pads.len() != 4 {
            return Err("it is no convolution of images".into());
        }
        // The sizes of the padding are computed from the wrong dimension.
        not_auto_padded(node)?;
        self.constant(node, 1)?;
        let [channels_out, ..] = self.shape(&node.input[1])? else { return Err("its weights have no shape".into()) };
        let group = int(node, "group").unwrap_or(1);
        // The number of a channel's group is computed from their product, in 32 bits.
        if (*channels_out as u64).saturating_mul(group.unsigned_abs()) > u64::from(u32::MAX) {
            return Err("it has too many groups of channels".into());
        }
        let vectored = kernel == THREE && strides == [1, 1] && group == 1 && channels_out % 4 == 0;
        if vectored {
            // wonnx pads the weights if (and only if) there is a bias, and the padding is 1 or auto_pad is absent. Its
            // kernel wants them padded, its kernel for dilations does not.
            if node.input.len() < 3 || node.input[2].is_empty() {
                return Err("a 3×3 convolution without a bias is computed wrongly".into());
            }
            if dilations != [1, 1] {
                return Err("a dilated 3×3 convolution is computed wrongly".into());
            }
            if text(node, "auto_pad").is_some() && pads != [1, 1, 1, 1] {
                return Err("a 3×3 convolution that sets auto_pad is computed wrongly".into());
            }
        }
        if let Some(bias) = node.input.get(2).filter(|b| !b.is_empty())
            && !self.constants.contains_key(bias.as_str())
        {
            return Err("its bias is no constant".into());
        }
        Ok(())
    }

    fn pool(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 1..=1)?;
        self.images(node)?;
        not_auto_padded(node)?;
        if ints(node, "kernel_shape").is_none_or(|k| k.len() != 2) {
            return Err("it has no kernel_shape of two".into());
        }
        // The window over the edge is counted wrongly, or not at all.
        if int(node, "ceil_mode").unwrap_or(0) != 0 {
            return Err("it uses ceil_mode".into());
        }
        if int(node, "storage_order").unwrap_or(0) != 0 || ints(node, "dilations").is_some_and(|d| d != [1, 1]) {
            return Err("it is dilated or stored by columns".into());
        }
        Ok(())
    }

    fn batch_normalization(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 5..=5)?;
        let [batch, channels, ..] = self.images(node)?;
        // One workgroup each; training mode is not looked at.
        if int(node, "training_mode").unwrap_or(0) != 0 {
            return Err("it is in training mode".into());
        }
        if node.attribute.iter().any(|a| a.name == "spatial") {
            return Err("it sets `spatial`".into());
        }
        exact_dispatch(batch as u64).and(exact_dispatch(channels as u64))
    }

    /// Before operator set 13 everything behind the axis counts as one, which the kernel confuses.
    fn softmax(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 1..=1)?;
        let shape = self.shape(&node.input[0])?;
        let rank = shape.len() as i64;
        let axis = int(node, "axis").unwrap_or(if self.opset < 13 { 1 } else { -1 });
        let axis = if axis < 0 { axis + rank } else { axis };
        if axis != rank - 1 {
            return Err("only the last axis is computed rightly".into());
        }
        exact_dispatch(count(&shape[..shape.len().saturating_sub(1)]))
    }

    /// Inputs are laid one behind the other, which is right on the outermost axis alone. Eight buffers is the limit of
    /// a shader, and one is the output's.
    fn concat(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 1..=7)?;
        let out = self.shape(&node.output[0])?;
        let axis = int(node, "axis").ok_or("it has no axis")?;
        let axis = usize::try_from(if axis < 0 { axis + out.len() as i64 } else { axis }).map_err(|_| "its axis")?;
        if count(out.get(..axis).ok_or("its axis")?) != 1 {
            return Err("only the outermost axis is computed rightly".into());
        }
        Ok(())
    }

    /// Where an axis of size 1 that stays follows one that stays and is larger, the kernel indexes with a remainder
    /// that it forgot to take.
    fn reduce(&self, node: &NodeProto) -> Result<(), String> {
        inputs(node, 1..=1)?;
        let shape = self.shape(&node.input[0])?;
        let rank = shape.len() as i64;
        let axes = ints(node, "axes").ok_or("its axes are no attribute")?;
        let axes: Vec<i64> = axes.iter().map(|&a| if a < 0 { a + rank } else { a }).collect();
        let mut larger = false;
        for (axis, &size) in shape.iter().enumerate().filter(|(axis, _)| !axes.contains(&(*axis as i64))) {
            if larger && size == 1 {
                return Err(format!("axis {axis} has the size 1 and stays, which is computed wrongly"));
            }
            larger |= size > 1;
        }
        exact_dispatch(count(self.shape(&node.output[0])?))
    }

    fn constant(&self, node: &NodeProto, position: usize) -> Result<&tract_onnx::pb::TensorProto, String> {
        let name = node.input.get(position).map_or("", String::as_str);
        self.constants.get(name).copied().ok_or_else(|| format!("its input {position} is no constant"))
    }
}

fn inputs(node: &NodeProto, allowed: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    if allowed.contains(&node.input.len()) {
        return Ok(());
    }
    Err(format!("it has {} inputs", node.input.len()))
}

fn not_auto_padded(node: &NodeProto) -> Result<(), String> {
    match text(node, "auto_pad") {
        None | Some("NOTSET") => Ok(()),
        Some(_) => Err("it uses auto_pad".into()),
    }
}

fn single_float(tensor: &tract_onnx::pb::TensorProto) -> Option<f32> {
    match (tensor.float_data.as_slice(), tensor.raw_data.as_slice()) {
        ([one], []) => Some(*one),
        ([], raw) => Some(f32::from_le_bytes(raw.try_into().ok()?)),
        _ => None,
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|a| a.i)
}

fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|a| a.f)
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|a| a.ints.as_slice())
}

fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    attribute(node, name).map(|a| std::str::from_utf8(&a.s).unwrap_or("?"))
}
