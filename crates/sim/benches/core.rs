//! How long fixed work takes: codec, packing, window, routing, a whole cluster.
//!
//! ```sh
//! cargo bench --package antiphon-sim
//! ```

#![allow(missing_docs, reason = "made by a macro")]

use antiphon_sim::work::Work;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Enough that setting a cluster up does not count.
const MESSAGES: u64 = 4096;

fn fixed_work(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("work");
    group.sample_size(20).throughput(Throughput::Elements(MESSAGES));
    for work in Work::ALL {
        group.bench_function(work.name(), |bencher| bencher.iter(|| work.run(MESSAGES)));
    }
    group.finish();
}

criterion_group!(benches, fixed_work);
criterion_main!(benches);
