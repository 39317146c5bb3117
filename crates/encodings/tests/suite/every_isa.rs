//! The golden vectors once more on every instruction set of this machine, and by the scalar code.

use std::process::Command;

use gravure_simd::Isa;

#[test]
#[allow(clippy::print_stdout)]
fn bytes_equal_the_reference_on_every_instruction_set() {
    // The choice is made once in a process, so each gets its own.
    let sets = Isa::available().into_iter().map(Isa::name).chain(["scalar"]);
    for set in sets {
        let Ok(output) = Command::new(std::env::current_exe().unwrap()).arg("golden::").env("GRAVURE_ISA", set).output() else {
            println!("SKIPPED: a process cannot start itself under an emulator; run golden:: with GRAVURE_ISA={set}");
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{set}: {text}");
        assert!(!text.contains("running 0 tests"), "{set}: {text}");
    }
}
