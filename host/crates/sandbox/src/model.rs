//! Calling a model plugin.

use aimass_core::{Code, Fault, Port, Result, Signature, Tensor};
use wasmtime::Store;

use crate::bindings::{TensorIn, TensorOut, WitFault, WitSignature};
use crate::demotion::Run;
use crate::fault;
use crate::limits::Exceeded;
use crate::plugin::{ModelExports, Plugin};
use crate::state::Guest;

/// Ports of a signature, and bytes of its names and descriptions: it is stored, listed and shown.
const MAX_PORTS: usize = 256;
const MAX_NAME: usize = 256;
const MAX_DESCRIPTION: usize = 4 << 10;
const MAX_RANK: usize = 16;

type Inputs<'a> = (&'a [TensorIn<'a>],);
type Outputs = (std::result::Result<Vec<TensorOut>, WitFault>,);

/// A call of `infer`, in `store`.
pub(crate) fn infer(plugin: &Plugin, mut store: Store<Guest>, inputs: Vec<Tensor>) -> Result<Run<Vec<Tensor>>> {
    let (pre, export) = (plugin.pre().clone(), exports(plugin)?.infer);
    let limit = store.data().call().limits.output;
    Ok(Box::pin(async move {
        let inputs: Vec<TensorIn<'_>> = inputs.iter().map(TensorIn::from).collect();
        let call = async {
            let instance = pre.instantiate_async(&mut store).await?;
            let infer = instance.get_typed_func::<Inputs<'_>, Outputs>(&mut store, export)?;
            let (outputs,) = infer.call_async(&mut store, (&inputs,)).await?;
            if let Ok(outputs) = &outputs
                && outputs.iter().map(TensorOut::size).sum::<usize>() > limit
            {
                return Err(Exceeded::Output(limit).into());
            }
            Ok(outputs)
        };
        let outputs = call.await.map_err(fault::of)?.map_err(fault::reported)?;
        outputs.into_iter().map(output).collect()
    }))
}

/// A call of `signature`, in `store`.
pub(crate) fn signature(plugin: &Plugin, mut store: Store<Guest>) -> Result<Run<Signature>> {
    let (pre, exports) = (plugin.pre().clone(), exports(plugin)?);
    let (infer, signature) = (exports.infer, exports.signature);
    Ok(Box::pin(async move {
        let call = async {
            let instance = pre.instantiate_async(&mut store).await?;
            // Not called, but a component whose `infer` has another type shall fail now.
            instance.get_typed_func::<Inputs<'_>, Outputs>(&mut store, infer)?;
            let signature = instance.get_typed_func::<(), (WitSignature,)>(&mut store, signature)?;
            let (signature,) = signature.call_async(&mut store, ()).await?;
            Ok(signature)
        };
        let signature = Signature::from(call.await.map_err(fault::of)?);
        check(&signature)?;
        Ok(signature)
    }))
}

fn exports(plugin: &Plugin) -> Result<&ModelExports> {
    plugin.model.as_ref().ok_or_else(|| Plugin::unsupported(crate::inspect::MODEL_INTERFACE))
}

fn output(tensor: TensorOut) -> Result<Tensor> {
    Tensor::try_from(tensor).map_err(|fault| {
        Fault::new(Code::PluginFault, format!("the plugin answered with a malformed tensor: {}", fault.detail()))
    })
}

fn check(signature: &Signature) -> Result<()> {
    let bad = |detail: &str| Err(Fault::new(Code::InvalidComponent, format!("its signature is not valid: {detail}")));
    if signature.description.len() > MAX_DESCRIPTION {
        return bad("the description is too long");
    }
    for ports in [&signature.inputs, &signature.outputs] {
        if ports.len() > MAX_PORTS {
            return bad("it has too many inputs or outputs");
        }
        for (i, Port { name, shape, description, .. }) in ports.iter().enumerate() {
            if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return bad("a name is 1 to 256 bytes without control characters");
            }
            if ports[..i].iter().any(|other| other.name == *name) {
                return bad("a name stands twice");
            }
            if shape.len() > MAX_RANK || shape.iter().any(|&d| d < -1) {
                return bad("a shape has at most 16 dimensions, each a size or -1");
            }
            if description.len() > MAX_DESCRIPTION {
                return bad("a description is too long");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aimass_core::ElementType;

    #[test]
    fn signatures_are_checked() {
        let port = |name: &str, shape: &[i64]| Port::new(name, ElementType::Fp32, shape);
        let of = |inputs| Signature { inputs, ..Signature::default() };
        assert!(check(&of(vec![port("x", &[-1, 3]), port("y", &[])])).is_ok());
        for bad in [
            vec![port("x", &[]), port("x", &[])],
            vec![port("", &[])],
            vec![port("a\nb", &[])],
            vec![port("x", &[-2])],
            vec![port("x", &[1; 17])],
            vec![port(&"x".repeat(257), &[])],
        ] {
            assert_eq!(check(&of(bad)).unwrap_err().code(), Code::InvalidComponent);
        }
    }
}
