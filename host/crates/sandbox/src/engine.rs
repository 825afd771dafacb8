//! The one `Engine`: which WebAssembly it takes, how it is compiled, and the pool that instances come from.

use aimass_core::limits::InvocationLimits;
use aimass_core::{Fault, Result};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmFeatures,
};

use crate::config::PoolConfig;

/// Linear memories that one component may hold. A Rust or Python guest has one; a composed one has a few.
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 8;

/// Tables that one component may hold: wit-component makes two; a Python guest, one for each of its libraries.
pub(crate) const TABLES_PER_COMPONENT: u32 = 32;

/// Core instances of one component: a Rust guest has four, a Python guest about thirty.
const CORE_INSTANCES_PER_COMPONENT: u32 = 100;

/// The engine. Everything that changes compiled code is set here, so that two processes of the same build make
/// compatible code.
pub(crate) fn build(pool: &PoolConfig, limits: &InvocationLimits) -> Result<Engine> {
    let mut config = Config::new();
    features(&mut config);
    config
        // One compiler to trust.
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        // Time is bounded by epochs: a load and a compare per loop, where fuel counts every instruction.
        .epoch_interruption(true)
        .consume_fuel(false)
        // What WebAssembly may use of a fiber's stack; the rest of the 2 MiB (address space until touched) is for
        // host functions, which run on the same stack. wasmtime's own defaults, pinned.
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        // A guest cannot read its native stack: locals are zeroed by the specification. Wiping it costs a memset
        // per call and protects from nothing that a guest can do.
        .async_stack_zeroing(false)
        // 4 GiB of address space per memory and a guard behind it: then no load or store needs a bounds check.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_may_move(false)
        // Initial data is mapped copy-on-write from the compiled file, not copied in.
        .memory_init_cow(true)
        // Names in a backtrace go to the log, but no file names: those need debug information.
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .generate_address_map(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool, limits)));
    Engine::new(&config).map_err(Fault::internal)
}

/// What guest toolchains emit, and nothing that costs trust: no shared memory, no 64-bit memory (its accesses need
/// bounds checks), no collector, no exceptions.
fn features(config: &mut Config) {
    let on = [
        WasmFeatures::MUTABLE_GLOBAL,
        WasmFeatures::SATURATING_FLOAT_TO_INT,
        WasmFeatures::SIGN_EXTENSION,
        WasmFeatures::MULTI_VALUE,
        WasmFeatures::BULK_MEMORY,
        WasmFeatures::REFERENCE_TYPES,
        WasmFeatures::EXTENDED_CONST,
        WasmFeatures::TAIL_CALL,
        WasmFeatures::SIMD,
        WasmFeatures::RELAXED_SIMD,
        WasmFeatures::FLOATS,
        WasmFeatures::COMPONENT_MODEL,
    ];
    let on = on.into_iter().fold(WasmFeatures::empty(), |all, one| all | one);
    let off = [
        WasmFeatures::MEMORY64,
        WasmFeatures::THREADS,
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        WasmFeatures::GC,
        WasmFeatures::FUNCTION_REFERENCES,
        WasmFeatures::EXCEPTIONS,
        WasmFeatures::LEGACY_EXCEPTIONS,
        WasmFeatures::STACK_SWITCHING,
        WasmFeatures::MULTI_MEMORY,
        WasmFeatures::CUSTOM_PAGE_SIZES,
        WasmFeatures::WIDE_ARITHMETIC,
        WasmFeatures::CM_ASYNC,
    ];
    let off = off.into_iter().fold(WasmFeatures::empty(), |all, one| all | one);
    config.wasm_features(on, true).wasm_features(off, false);
    // The same result on every processor, so that a retry on another node answers alike.
    config.relaxed_simd_deterministic(true);
}

fn pooling(pool: &PoolConfig, limits: &InvocationLimits) -> PoolingAllocationConfig {
    let n = pool.instances.max(1);
    let mut config = PoolingAllocationConfig::new();
    config
        .total_component_instances(n)
        .total_stacks(n)
        // Counters only: core instances live on the heap. A Rust guest has four.
        .total_core_instances(n.saturating_mul(8).max(CORE_INSTANCES_PER_COMPONENT))
        // One memory is the rule. 4 GiB of address space each: 1,000 instances take 8 TiB of the 128 TiB that an
        // x86-64 process has.
        .total_memories(n.saturating_mul(2).max(MEMORIES_PER_COMPONENT))
        // Two tables are the rule.
        .total_tables(n.saturating_mul(4).max(TABLES_PER_COMPONENT))
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_module(1)
        .max_tables_per_module(8)
        // The limiter of a store counts all its memories and tables; these bound one of them.
        .max_memory_size(4 << 30)
        .table_elements(limits.table_elements)
        // Bookkeeping of one instance: grows with the number of functions that can be referred to. A JavaScript
        // engine needs about 1 MiB.
        .max_component_instance_size(8 << 20)
        .max_core_instance_size(4 << 20)
        // Measured on two cores, whole requests of a small wasi:http hello and of one with Rust's standard library
        // (its memory starts with 1.1 MiB). With the page-map scan below: 22 µs and 32 µs, at 16 KiB, 64 KiB or
        // 128 KiB alike. Without it, at 128 KiB: 19 µs and 48 µs; at 16 KiB: 35 µs and 45 µs. Without a pool: 47 µs
        // for the small one.
        .linear_memory_keep_resident(pool.keep_resident)
        // A table of 1,000 entries; the rest of it goes back to the system.
        .table_keep_resident(8 << 10)
        // Slots that keep another plugin's image mapped: as many as plugins that are hot at once.
        .max_unused_warm_slots(100)
        // Only pages that were touched are wiped, wherever they lie. Needs Linux 6.7; before it, what lies below
        // `keep_resident` is wiped, touched or not.
        .pagemap_scan(Enabled::Auto);
    config
}
