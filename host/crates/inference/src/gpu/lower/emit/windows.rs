//! Convolutions and pools of images [N, C, H, W].

use crate::gpu::lower::graph::{Graph, Id, int, ints};

/// How a window moves over the two last axes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::gpu::lower) struct Window {
    pub(in crate::gpu::lower) kernel: [usize; 2],
    pub(in crate::gpu::lower) strides: [usize; 2],
    pub(in crate::gpu::lower) dilations: [usize; 2],
    /// Rows above and columns to the left that are not there. Those below and to the right follow from the output.
    pub(in crate::gpu::lower) before: [usize; 2],
    /// The output's two last axes.
    pub(in crate::gpu::lower) out: [usize; 2],
}

impl Window {
    fn attributes(&self) -> Vec<tract_onnx::pb::AttributeProto> {
        let [top, left] = self.before;
        vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.strides),
            ints("dilations", &self.dilations),
            ints("pads", &[top, left, top, left]),
        ]
    }
}

impl Graph {
    /// A convolution with constant weights [M, C / groups, kernel].
    pub(in crate::gpu::lower) fn conv(
        &mut self,
        x: &str,
        weights: (Vec<usize>, Vec<f32>),
        bias: Option<Vec<f32>>,
        mut window: Window,
        groups: usize,
    ) -> Id {
        let (mut dims, mut weights) = weights;
        let images = self.shape(x)[0];
        if window.dilations != [1, 1] && window.kernel == [3, 3] {
            // wonnx pads the weights of any 3×3 kernel for a shader that it uses for undilated ones alone.
            (dims, weights) = spread(&dims, &weights, window.dilations);
            window.kernel = [dims[2], dims[3]];
            window.dilations = [1, 1];
        }
        // The same shader wants padded weights, which they are only where there is a bias.
        let m = dims[0];
        let w = self.constant(&dims, weights);
        let b = self.constant(&[m], bias.unwrap_or_else(|| vec![0.0; m]));
        let mut attributes = window.attributes();
        attributes.push(int("group", groups as i64));
        self.push("Conv", &[x, &w, &b], &[images, m, window.out[0], window.out[1]], attributes)
    }

    /// `MaxPool`, or `AveragePool` with or without what is padded.
    pub(in crate::gpu::lower) fn pool(&mut self, op: &str, x: &str, window: &Window, padding_counts: bool) -> Id {
        let shape = self.shape(x);
        let mut attributes = window.attributes();
        if op == "AveragePool" {
            attributes.push(int("count_include_pad", padding_counts.into()));
        }
        self.push(op, &[x], &[shape[0], shape[1], window.out[0], window.out[1]], attributes)
    }
}

/// Weights with zeros between them: what dilation does.
fn spread(dims: &[usize], weights: &[f32], dilations: [usize; 2]) -> (Vec<usize>, Vec<f32>) {
    let (h, w) = (dims[2], dims[3]);
    let (tall, wide) = ((h - 1) * dilations[0] + 1, (w - 1) * dilations[1] + 1);
    let mut spread = Vec::with_capacity(dims[0] * dims[1] * tall * wide);
    for kernel in weights.chunks_exact(h * w) {
        let mut large = vec![0.0; tall * wide];
        for (i, &weight) in kernel.iter().enumerate() {
            large[(i / w) * dilations[0] * wide + (i % w) * dilations[1]] = weight;
        }
        spread.extend(large);
    }
    (vec![dims[0], dims[1], tall, wide], spread)
}
