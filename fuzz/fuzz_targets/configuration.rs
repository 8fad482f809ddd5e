#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    _ = antiphon_hostile::configuration(data);
});
