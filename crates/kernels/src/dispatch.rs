//! Which instruction set runs, and the functions compiled for it.

use gravure_simd::Isa;

#[cfg(target_arch = "x86_64")]
use crate::lanes::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use crate::lanes::avx512::Avx512;
#[cfg(target_arch = "aarch64")]
use crate::lanes::neon::Neon;
use crate::lanes::portable::Portable;
use crate::lanes::{Lanes, PairLanes, PointLanes};

/// An instruction set for integer products that this processor has: only detection makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level(Set);

#[derive(Debug, Clone, Copy)]
enum Set {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx(gravure_simd::arch::Amx),
    /// The same, with prompts multiplied in bytes where weights are integers.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    AmxInt8(gravure_simd::arch::Amx),
    /// Arrays, and tiles in memory; in bf16 where that is set.
    #[cfg(test)]
    SoftwareTiles(bool),
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    NeonMixed,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// Work that is written once over [`Lanes`].
pub(crate) trait Work {
    /// Does it.
    ///
    /// # Safety
    /// As for the functions of [`Lanes`]; what else must hold the work itself says.
    unsafe fn run<L: Lanes>(self);
}

/// Work that is written once over [`PointLanes`].
pub(crate) trait PointWork {
    /// Does it.
    ///
    /// # Safety
    /// As for the functions of [`Lanes`]; what else must hold the work itself says.
    unsafe fn run<L: PointLanes>(self);
}

/// Work that is written once over [`PairLanes`].
pub(crate) trait PairWork {
    /// Does it.
    ///
    /// # Safety
    /// As for the functions of [`Lanes`]; what else must hold the work itself says.
    unsafe fn run<L: PairLanes>(self);
}

/// Work that is written once over tiles.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no other processor has tiles"))]
pub(crate) trait TileWork {
    /// Does it.
    fn run<X: gravure_simd::arch::Tiles>(self, tiles: &mut X);
}

/// What some lanes of a set can do that others cannot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// They look points of lattices up ([`Lanes::with_points`]).
    pub(crate) points: bool,
    /// They multiply pairs of bf16 ([`Lanes::with_pairs`]).
    pub(crate) pairs: bool,
}

#[cfg(target_arch = "x86_64")]
impl Abilities {
    fn of_avx512() -> Self {
        Self { points: is_x86_feature_detected!("avx512vbmi"), pairs: is_x86_feature_detected!("avx512bf16") }
    }
}

impl Level {
    /// The best set for a processor on which `isa` was chosen.
    pub(crate) fn of(isa: Isa) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            match isa {
                #[cfg(target_os = "linux")]
                Isa::Amx(amx, _) if fused && is_x86_feature_detected!("avx512vnni") => return Self(Set::Amx(amx)),
                #[cfg(target_os = "linux")]
                Isa::AmxInt8(amx, _) if fused && is_x86_feature_detected!("avx512vnni") => return Self(Set::AmxInt8(amx)),
                Isa::Avx512(_) if fused && is_x86_feature_detected!("avx512vnni") => return Self(Set::Avx512),
                Isa::Avx512(_) | Isa::Avx2(_) if fused && is_x86_feature_detected!("avxvnni") => return Self(Set::AvxVnni),
                Isa::Avx512(_) | Isa::Avx2(_) if fused => return Self(Set::Avx2),
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if matches!(isa, Isa::Neon(_)) && std::arch::is_aarch64_feature_detected!("dotprod") {
            return Self(if std::arch::is_aarch64_feature_detected!("i8mm") { Set::NeonMixed } else { Set::Neon });
        }
        let _ = isa;
        Self(Set::Portable)
    }

    /// The set that stands in for one with tiles.
    #[cfg(test)]
    pub(crate) fn software_tiles(bf16: bool) -> Self {
        Self(Set::SoftwareTiles(bf16))
    }

    /// Whether prompts are multiplied in bf16, by tiles, whatever the weights are.
    pub(crate) fn prefers_bf16(self) -> bool {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::Amx(_) => self.has_bf16_tiles(),
            #[cfg(test)]
            Set::SoftwareTiles(bf16) => bf16,
            _ => false,
        }
    }

    /// Whether there are tiles of bf16.
    pub(crate) fn has_bf16_tiles(self) -> bool {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::Amx(amx) | Set::AmxInt8(amx) => amx.has_bf16() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(test)]
            Set::SoftwareTiles(_) => true,
            _ => false,
        }
    }

    /// What its lanes can do besides.
    pub(crate) fn abilities(self) -> Abilities {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::Amx(_) | Set::AmxInt8(_) => Abilities::of_avx512(),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Abilities::of_avx512(),
            _ => Abilities { points: false, pairs: false },
        }
    }

    /// Whether there are tiles.
    pub(crate) fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::Amx(_) | Set::AmxInt8(_) => true,
            #[cfg(test)]
            Set::SoftwareTiles(_) => true,
            _ => false,
        }
    }

    /// Does work with the tiles of this set; nothing where it has none.
    #[inline(always)]
    pub(crate) fn with_tiles<W: TileWork>(self, work: W) {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::Amx(mut amx) | Set::AmxInt8(mut amx) => work.run(&mut amx),
            #[cfg(test)]
            Set::SoftwareTiles(_) => work.run(&mut gravure_simd::arch::SoftwareTiles::new()),
            _ => drop(work),
        }
    }

    /// Its name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::Amx(_) => "amx",
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Set::AmxInt8(_) => "amx-int8",
            #[cfg(test)]
            Set::SoftwareTiles(_) => "software tiles",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::NeonMixed => "neon-i8mm",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon-dotprod",
            Set::Portable => "portable",
        }
    }

    /// Does the work in a function compiled for this set.
    ///
    /// # Safety
    /// What the work says; the processor has the set, since detection made this value.
    pub(crate) unsafe fn run<W: Work>(self, work: W) {
        // SAFETY: detection made this value; the rest is the caller's promise.
        unsafe {
            match self.0 {
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Set::Amx(_) | Set::AmxInt8(_) => avx512(work),
                #[cfg(test)]
                Set::SoftwareTiles(_) => work.run::<Portable>(),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => avx512(work),
                #[cfg(target_arch = "x86_64")]
                Set::AvxVnni => avx_vnni(work),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => avx2(work),
                #[cfg(target_arch = "aarch64")]
                Set::NeonMixed => work.run::<Neon<true>>(),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => work.run::<Neon<false>>(),
                Set::Portable => work.run::<Portable>(),
            }
        }
    }
}

// Never inlined: what is done apart (`Lanes::apart`) has all registers to itself.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn avx512<W: Work>(work: W) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c")]
pub(crate) unsafe fn avx512_vbmi<W: PointWork>(work: W) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c")]
pub(crate) unsafe fn avx512_bf16<W: PairWork>(work: W) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
pub(crate) unsafe fn avx_vnni<W: Work>(work: W) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Avx2<true>>() }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn avx2<W: Work>(work: W) {
    // SAFETY: the caller's promise.
    unsafe { work.run::<Avx2<false>>() }
}
