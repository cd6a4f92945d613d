//! Any bytes, taken for a plugin's library: vetting answers, and does not panic, hang or take the memory.
#![no_main]

use host::load::vet;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(facts) = vet(bytes) {
        // Whatever it accepts must be fit to be judged and shown.
        let _ = facts.judge(&[]);
        assert!(facts.needs.iter().all(|library| library.len() < 256));
    }
});
