//! Any bytes as a GGUF that is opened, inspected, scanned and quantized: whatever it claims, its blocks are
//! decoded and encoded without a panic, a hang, or a read past its end.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use gravure::mixtures::{self, MixtureRequest};
use gravure::{ErrorKind, Limits, OpenRequest, PlanSource, QuantizeRequest, Quiet, Result, inspect, quantize, scan};
use gravure_base::{OutputHandle, Storage};
use libfuzzer_sys::fuzz_target;

/// A disk that forgets everything.
#[derive(Debug, Clone, Copy)]
struct Nowhere;

impl OutputHandle for Nowhere {
    fn write_all(&mut self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Storage for Nowhere {
    fn open(&self, _path: &Path, _keep: u64) -> Result<Box<dyn OutputHandle>> {
        Ok(Box::new(*self))
    }

    fn rename(&self, _from: &Path, _to: &Path) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    fn create_folder(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn remove_folder(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn exchange(&self, _a: &Path, _b: &Path) -> Result<()> {
        Ok(())
    }

    fn free_space(&self, _folder: &Path) -> Result<u64> {
        Ok(1 << 40)
    }
}

/// One file that every input is written to.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("gravure-fuzz-{}.gguf", std::process::id()))
});

fn check<T>(result: Result<T>) {
    if let Err(error) = result {
        assert_ne!(error.kind(), ErrorKind::Bug, "{error}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    std::fs::write(&*FILE, bytes).expect("the file can be written");
    check(inspect(&OpenRequest::new(&FILE)));
    check(scan(&FILE, &Limits::default(), true));
    let names = ["q8_0", "q4_0", "q4_k_m", "q2_k", "iq4_nl", "tq1_0", "f16", "q6_k"];
    let name = names[usize::from(choice) % names.len()];
    let mut mixture = MixtureRequest::new(mixtures::find(name).expect("a mixture of that name"));
    mixture.requantize = mixtures::Requantize::Allowed;
    let mut request = QuantizeRequest::new(FILE.clone(), FILE.with_extension("out.gguf"), PlanSource::Mixture(mixture));
    request.threads = 1;
    request.storage = Arc::new(Nowhere);
    if choice & 0x80 != 0 {
        request.output_format = Some("safetensors".to_owned());
    }
    check(quantize(&request, &Quiet));
});
