//! The registries, handed to whoever needs a member of another axis.

use crate::{Architecture, Encoding, Error, Format, Method, Pass, PlaneEncoding, Result, Runtime};

/// All encodings, formats and architectures of this build. Members of one axis know those of
/// another only through this value.
#[derive(Debug, Clone, Copy)]
pub struct Catalog {
    /// Encodings in registry order.
    pub encodings: &'static [&'static dyn Encoding],
    /// Encodings that spread a matrix over several tensors, in registry order.
    pub plane_encodings: &'static [&'static dyn PlaneEncoding],
    /// Formats in registry order.
    pub formats: &'static [&'static dyn Format],
    /// Methods in registry order.
    pub methods: &'static [&'static dyn Method],
    /// Passes in registry order.
    pub passes: &'static [&'static dyn Pass],
    /// Architectures in registry order.
    pub architectures: &'static [&'static dyn Architecture],
    /// Runtimes in registry order.
    pub runtimes: &'static [&'static dyn Runtime],
}

impl Catalog {
    /// Nothing at all: what tests of one axis begin with.
    pub const EMPTY: Self =
        Self { encodings: &[], plane_encodings: &[], formats: &[], methods: &[], passes: &[], architectures: &[], runtimes: &[] };

    /// The encoding called `id` (lower case), or an error that lists the known ones.
    pub fn encoding(&self, id: &str) -> Result<&'static dyn Encoding> {
        self.encodings.iter().copied().find(|e| e.id() == id).ok_or_else(|| {
            let known: Vec<_> = self.encodings.iter().map(|e| e.id()).collect();
            Error::unsupported(format!("unknown encoding `{id}`")).help(format!("known encodings: {}", known.join(", ")))
        })
    }

    /// The plane encoding called `id` (lower case), or an error that lists the known ones.
    pub fn plane_encoding(&self, id: &str) -> Result<&'static dyn PlaneEncoding> {
        self.plane_encodings.iter().copied().find(|e| e.id() == id).ok_or_else(|| {
            let known: Vec<_> = self.plane_encodings.iter().map(|e| e.id()).collect();
            Error::unsupported(format!("unknown plane encoding `{id}`")).help(format!("known plane encodings: {}", known.join(", ")))
        })
    }

    /// The method called `id`.
    pub fn method(&self, id: &str) -> Result<&'static dyn Method> {
        self.methods.iter().copied().find(|m| m.id() == id).ok_or_else(|| {
            let known: Vec<_> = self.methods.iter().map(|m| m.id()).collect();
            Error::request(format!("unknown method `{id}`")).help(format!("known methods: {}", known.join(", ")))
        })
    }

    /// The pass called `id`.
    pub fn pass(&self, id: &str) -> Result<&'static dyn Pass> {
        self.passes.iter().copied().find(|p| p.id() == id).ok_or_else(|| {
            let known: Vec<_> = self.passes.iter().map(|p| p.id()).collect();
            Error::request(format!("unknown pass `{id}`")).help(format!("known passes: {}", known.join(", ")))
        })
    }

    /// The runtime called `id`.
    pub fn runtime(&self, id: &str) -> Result<&'static dyn Runtime> {
        self.runtimes.iter().copied().find(|r| r.id() == id).ok_or_else(|| {
            let known: Vec<_> = self.runtimes.iter().map(|r| r.id()).collect();
            Error::request(format!("unknown runtime `{id}`")).help(format!("known runtimes: {}", known.join(", ")))
        })
    }

    /// The format called `id`.
    pub fn format(&self, id: &str) -> Result<&'static dyn Format> {
        self.formats.iter().copied().find(|f| f.id() == id).ok_or_else(|| {
            let known: Vec<_> = self.formats.iter().map(|f| f.id()).collect();
            Error::request(format!("unknown format `{id}`")).help(format!("known formats: {}", known.join(", ")))
        })
    }

    /// The architecture with this id, or with this alias (such as a `model_type` or a class name).
    pub fn architecture(&self, name: &str) -> Option<&'static dyn Architecture> {
        self.architectures.iter().copied().find(|a| a.id() == name || a.aliases().contains(&name))
    }
}
