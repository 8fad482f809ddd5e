#![no_main]

use antiphon_hostile::Alteration;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    _ = antiphon_hostile::links(data.as_chunks().0.iter().copied().map(Alteration::new));
});
