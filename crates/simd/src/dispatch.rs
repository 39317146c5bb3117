//! Which instruction set runs.

use std::sync::OnceLock;

use crate::arch::Portable;
use crate::token::{Kernel, Simd};

/// An instruction set that this processor has. Values come from detection alone, so holding one is
/// a proof.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Isa {
    /// x86-64 with AVX-512 as below, whose lanes these are, and AMX, whose products of bf16 are preferred where it has them.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx(crate::arch::Amx, crate::arch::Avx512),
    /// The same, and products of bytes preferred: only where it is asked for by name.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    AmxInt8(crate::arch::Amx, crate::arch::Avx512),
    /// x86-64 with AVX-512 F, BW, DQ, VL: 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(crate::arch::Avx512),
    /// x86-64 with AVX2 and F16C: 8 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2(crate::arch::Avx2),
    /// AArch64: 4 lanes.
    #[cfg(target_arch = "aarch64")]
    Neon(crate::arch::Neon),
    /// Arrays, everywhere.
    Portable(Portable),
}

impl Isa {
    /// The best set that this processor has, or the one that is [asked for](Self::asked) where it has that. Looked up once.
    pub fn detect() -> Self {
        static CHOICE: OnceLock<Isa> = OnceLock::new();
        *CHOICE.get_or_init(|| {
            let asked = Self::asked().and_then(Result::ok);
            asked.or_else(|| Self::available().into_iter().next()).unwrap_or(Self::Portable(Portable))
        })
    }

    /// The set that the environment variable `GRAVURE_ISA` names (`amx`, `amx-int8`, `avx512`, `avx2`, `neon`, `portable`); `scalar`, by
    /// which encoders also leave their lanes alone, stands for `portable`. `None` where it is not set, or empty.
    ///
    /// # Errors
    /// The name, where this processor has no such set.
    pub fn asked() -> Option<Result<Self, String>> {
        let name = std::env::var_os("GRAVURE_ISA").filter(|name| !name.is_empty())?.to_string_lossy().into_owned();
        let wanted = if name == "scalar" { "portable" } else { &name };
        Some(Self::named(wanted).ok_or(name))
    }

    /// Every set that this processor has, best first; tests and benchmarks run them all.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            #[cfg(target_os = "linux")]
            if let (Some(lanes), Some(amx)) = (crate::arch::Avx512::detect(), crate::arch::Amx::detect()) {
                found.push(Self::Amx(amx, lanes));
                found.extend(amx.has_bf16().then_some(Self::AmxInt8(amx, lanes)));
            }
            found.extend(crate::arch::Avx512::detect().map(Self::Avx512));
            found.extend(crate::arch::Avx2::detect().map(Self::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(crate::arch::Neon::detect().map(Self::Neon));
        found.push(Self::Portable(Portable));
        found
    }

    /// The set of that name where this processor has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name))
    }

    /// Its name in messages and in `GRAVURE_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx(..) => "amx",
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::AmxInt8(..) => "amx-int8",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            Self::Portable(_) => "portable",
        }
    }

    /// Runs `kernel` with this set's vectors, in a function compiled for it.
    pub fn vectorize<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx(_, isa) | Self::AmxInt8(_, isa) => isa.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.vectorize(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.vectorize(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(isa) => isa.vectorize(kernel),
            Self::Portable(isa) => isa.vectorize(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        let names: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
        for name in &names {
            assert_eq!(Isa::named(name).map(Isa::name), Some(*name));
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1);
        }
        assert_eq!(names.last(), Some(&"portable"));
        assert!(Isa::named("abacus").is_none());
    }
}
