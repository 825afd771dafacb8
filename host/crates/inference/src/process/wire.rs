//! What the two processes say to one another, and how that becomes a packet.
//!
//! A packet is a head (postcard), its length before it, and behind it the bytes of tensors that are small. A head that
//! is too large for a packet travels in shared memory of its own; so does a model. Tensors that are large lie in the
//! slot (see `slots`) that the request names.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};

use aimass_core::{Code, ElementType, Fault, Port, Signature, Tensor};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::region::Region;
use super::socket::{self, PACKET};
use crate::engines::{Device, DeviceInfo, EngineConfig};
use crate::loaded::{Placement, Race};

/// Tensors of one message that are together no longer than this travel in the packet: copying so little twice costs
/// less than anything else would.
pub(super) const INLINE: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) body: RequestBody,
}

#[derive(Serialize, Deserialize)]
pub(super) enum RequestBody {
    /// The first request: what engines to hold, and the most memory that this process may take.
    Start { config: EngineConfig, memory: Option<u64> },
    /// Which devices there are.
    Devices,
    /// Takes a model, whose `length` bytes are in the attached shared memory, and names it.
    Load { model: u64, length: usize, device: Device },
    /// Drops a model.
    Unload { model: u64 },
    /// Runs a model. Whoever sent it waits no longer than `millis`.
    Infer { model: u64, millis: u64, slot: Option<SlotRef>, tensors: Vec<TensorHead> },
    /// Unmaps a slot.
    Forget { slot: u32 },
}

/// Shared memory that both sides have mapped under a number; attached where it is new.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SlotRef {
    pub(super) number: u32,
    pub(super) length: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TensorHead {
    name: String,
    element_type: ElementType,
    shape: Vec<u64>,
    /// Where its bytes begin: in the slot, or behind the head.
    at: usize,
    length: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) body: Result<ReplyBody, WireFault>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum ReplyBody {
    Done,
    Devices(Vec<DeviceInfo>),
    Loaded(LoadedHead),
    /// `length` is the slot's, which may have grown. `memory` is what the model holds now.
    Outputs {
        tensors: Vec<TensorHead>,
        slot: Option<SlotRef>,
        memory: u64,
        compute_nanos: u64,
    },
}

/// What the parent keeps of a model.
#[derive(Serialize, Deserialize)]
pub(super) struct LoadedHead {
    pub(super) memory: u64,
    signature: SignatureHead,
    placement: PlacementHead,
}

// postcard reads fields by their order, so it cannot read types that leave some out when they are empty, as those that
// are shown to people do.
#[derive(Serialize, Deserialize)]
struct SignatureHead {
    inputs: Vec<(String, ElementType, Vec<i64>, String)>,
    outputs: Vec<(String, ElementType, Vec<i64>, String)>,
    description: String,
}

#[derive(Serialize, Deserialize)]
struct PlacementHead {
    backend: String,
    device: String,
    reason: Option<String>,
    canary: Option<f64>,
    race: Option<(f64, f64)>,
}

impl LoadedHead {
    pub(super) fn new(signature: &Signature, placement: &Placement, memory: u64) -> Self {
        let ports = |ports: &[Port]| {
            ports.iter().map(|p| (p.name.clone(), p.element_type, p.shape.clone(), p.description.clone())).collect()
        };
        let Placement { backend, device, reason, canary, race } = placement.clone();
        Self {
            memory,
            signature: SignatureHead {
                inputs: ports(&signature.inputs),
                outputs: ports(&signature.outputs),
                description: signature.description.clone(),
            },
            placement: PlacementHead {
                backend: backend.into_owned(),
                device,
                reason,
                canary,
                race: race.map(|race| (race.cpu_ms, race.gpu_ms)),
            },
        }
    }

    pub(super) fn signature(&self) -> Signature {
        let ports = |ports: &[(String, ElementType, Vec<i64>, String)]| {
            let port = |(name, element_type, shape, description): &(String, ElementType, Vec<i64>, String)| Port {
                description: description.clone(),
                ..Port::new(name.clone(), *element_type, shape.clone())
            };
            ports.iter().map(port).collect()
        };
        let SignatureHead { inputs, outputs, description } = &self.signature;
        Signature { inputs: ports(inputs), outputs: ports(outputs), description: description.clone() }
    }

    pub(super) fn placement(&self) -> Placement {
        let PlacementHead { backend, device, reason, canary, race } = &self.placement;
        Placement {
            backend: backend.clone().into(),
            device: device.clone(),
            reason: reason.clone(),
            canary: *canary,
            race: race.map(|(cpu_ms, gpu_ms)| Race { cpu_ms, gpu_ms }),
        }
    }
}

/// A fault on its way to the other process.
#[derive(Serialize, Deserialize)]
pub(super) struct WireFault {
    code: String,
    detail: String,
    cause: Option<String>,
}

impl From<Fault> for WireFault {
    fn from(fault: Fault) -> Self {
        Self {
            code: fault.code().as_str().to_owned(),
            detail: fault.detail().to_owned(),
            cause: fault.cause().map(str::to_owned),
        }
    }
}

impl From<WireFault> for Fault {
    fn from(fault: WireFault) -> Self {
        let code = Code::ALL.iter().copied().find(|code| code.as_str() == fault.code).unwrap_or(Code::Internal);
        let own = Self::new(code, fault.detail);
        match fault.cause {
            Some(cause) => own.caused_by(cause),
            None => own,
        }
    }
}

/// Where the tensors of a message lie, and where each of them begins.
pub(super) fn heads(tensors: &[Tensor]) -> (Vec<TensorHead>, usize) {
    let mut end = 0usize;
    let heads = tensors.iter().map(|tensor| {
        // A cache line: engines may read elements where they lie.
        let at = end.next_multiple_of(64);
        end = at + tensor.data().len();
        TensorHead {
            name: tensor.name().to_owned(),
            element_type: tensor.element_type(),
            shape: tensor.shape().to_vec(),
            at,
            length: tensor.data().len(),
        }
    });
    (heads.collect(), end)
}

/// The bytes of small tensors, as their heads say.
pub(super) fn inline(tensors: &[Tensor], heads: &[TensorHead], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (tensor, head) in tensors.iter().zip(heads) {
        bytes[head.at..head.at + head.length].copy_from_slice(tensor.data());
    }
    bytes
}

/// Writes tensors into a slot, which is long enough.
pub(super) fn put(tensors: &[Tensor], heads: &[TensorHead], region: &Region) -> io::Result<()> {
    tensors.iter().zip(heads).try_for_each(|(tensor, head)| region.put(head.at, tensor.data()))
}

/// Makes the tensors that `heads` describe; `bytes` finds what lies at an offset.
pub(super) fn tensors(
    heads: Vec<TensorHead>,
    mut bytes: impl FnMut(usize, usize) -> io::Result<Bytes>,
) -> Result<Vec<Tensor>, Fault> {
    let one = |head: TensorHead| {
        let data = bytes(head.at, head.length).map_err(Fault::internal)?;
        Tensor::new(head.name, head.element_type, head.shape, data)
    };
    heads.into_iter().map(one).collect()
}

/// A packet that was received.
pub(super) struct Packet<T> {
    pub(super) head: T,
    /// What lies behind the head.
    pub(super) inline: Bytes,
    pub(super) file: Option<OwnedFd>,
}

/// The length of a head, before it.
const PREFIX: usize = size_of::<u32>();
/// Instead of a length: the head is in the attached shared memory, whose first bytes say how long it is.
const ELSEWHERE: u32 = u32::MAX;

/// A packet on its way: kept whole, so that it can be tried again.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    overflow: Option<Region>,
}

impl Outgoing {
    /// # Errors
    /// `internal` if there is no memory for a head that is too large for a packet.
    pub(super) fn new(head: &impl Serialize, inline: &[u8]) -> Result<Self, Fault> {
        let mut bytes = postcard::to_extend(head, vec![0; PREFIX]).map_err(Fault::internal)?;
        let length = bytes.len() - PREFIX;
        if bytes.len() + inline.len() > PACKET {
            let region = Region::create(size_of::<u64>() + length).map_err(Fault::internal)?;
            let put = |at, part: &[u8]| region.put(at, part).map_err(Fault::internal);
            put(0, &(length as u64).to_le_bytes())?;
            put(size_of::<u64>(), &bytes[PREFIX..])?;
            return Ok(Self { bytes: ELSEWHERE.to_le_bytes().to_vec(), overflow: Some(region) });
        }
        bytes[..PREFIX].copy_from_slice(&(length as u32).to_le_bytes());
        bytes.extend_from_slice(inline);
        Ok(Self { bytes, overflow: None })
    }

    /// `file` goes along; a packet carries one.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let file = self.overflow.as_ref().map(Region::file).or(file);
        socket::send(socket, &[IoSlice::new(&self.bytes)], file)
    }
}

/// Reads what [`socket::receive`] got.
pub(super) fn read<T: DeserializeOwned>(packet: &[u8], file: Option<OwnedFd>) -> io::Result<Packet<T>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (prefix, rest) = packet.split_first_chunk::<PREFIX>().ok_or_else(|| invalid("a packet without a head"))?;
    match u32::from_le_bytes(*prefix) {
        ELSEWHERE => {
            let region = Region::open(file.ok_or_else(|| invalid("no shared memory came along"))?)?;
            let length = region.copy(0, size_of::<u64>())?;
            let length = length.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let head = region.copy(size_of::<u64>(), length)?;
            let head = postcard::from_bytes(&head).map_err(io::Error::other)?;
            Ok(Packet { head, inline: Bytes::new(), file: None })
        }
        length => {
            let length = length as usize;
            let head = rest.get(..length).ok_or_else(|| invalid("a head that is cut off"))?;
            let head = postcard::from_bytes(head).map_err(io::Error::other)?;
            Ok(Packet { head, inline: Bytes::copy_from_slice(&rest[length..]), file })
        }
    }
}
