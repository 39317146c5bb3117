//! The registries of this build, in one value.

use gravure_core::Catalog;

/// All members of every axis that this build knows.
pub fn catalog() -> &'static Catalog {
    static CATALOG: Catalog = Catalog {
        encodings: gravure_encodings::ENCODINGS,
        plane_encodings: gravure_encodings::PLANE_ENCODINGS,
        methods: gravure_methods::registry::METHODS,
        passes: gravure_passes::registry::PASSES,
        formats: gravure_formats::FORMATS,
        architectures: gravure_archs::ARCHITECTURES,
        runtimes: gravure_runtimes::RUNTIMES,
    };
    &CATALOG
}
