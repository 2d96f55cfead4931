//! Weights of a pretrained network by the names they have in its file, every complaint kept.
//!
//! A network asks for what it needs, with the shape it needs; what is missing, misshapen or left over
//! is told all at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, pickle, safetensors};

use crate::EmbedError;

/// Complaints that an error names.
const NAMED: usize = 10;

/// The tensors of a file, on the processor and as `f32`.
pub(crate) struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    read: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<String>>,
}

impl Weights {
    /// Reads `.safetensors`, or a `.pth` or `.bin` of PyTorch, of which tensors are taken and no code
    /// is run.
    ///
    /// # Errors
    /// [`EmbedError::Io`], [`EmbedError::Weights`] for a file that holds no tensors.
    pub(crate) fn open(path: &Path) -> Result<Self, EmbedError> {
        let broken = |source| EmbedError::Weights {
            path: path.to_path_buf(),
            source,
        };
        let is_torch = path
            .extension()
            .is_some_and(|end| end == "pth" || end == "pt" || end == "bin");
        let found: Vec<(String, Tensor)> = if is_torch {
            fs::metadata(path).map_err(EmbedError::io("read", path))?;
            let whole = pickle::read_all(path).map_err(broken)?;
            if whole.is_empty() {
                pickle::read_all_with_key(path, Some("state_dict")).map_err(broken)?
            } else {
                whole
            }
        } else {
            let bytes = fs::read(path).map_err(EmbedError::io("read", path))?;
            let tensors = safetensors::load_buffer(&bytes, &Device::Cpu).map_err(broken)?;
            tensors.into_iter().collect()
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in found {
            // What parallel training puts in front of every name.
            let name = name.strip_prefix("module.").unwrap_or(&name).to_owned();
            let is_float = tensor.dtype().is_float();
            let tensor = if is_float {
                tensor.to_dtype(DType::F32).map_err(broken)?
            } else {
                tensor
            };
            tensors.insert(name, tensor);
        }
        Ok(Self {
            path: path.to_path_buf(),
            tensors,
            read: RefCell::default(),
            problems: RefCell::default(),
        })
    }

    /// Takes a prefix off the names that have it.
    pub(crate) fn without_prefix(mut self, prefixes: &[&str]) -> Self {
        let bare = |name: String| {
            let found = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
            found.map(str::to_owned).unwrap_or(name)
        };
        let tensors = self.tensors.into_iter();
        self.tensors = tensors.map(|(name, tensor)| (bare(name), tensor)).collect();
        self
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor, where there is one.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Tensor::dims)
    }

    /// A tensor of this shape; zeros of it, and a complaint, where there is none.
    ///
    /// # Errors
    /// [`EmbedError::Compute`] where memory for zeros is refused.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, EmbedError> {
        self.read.borrow_mut().insert(name.to_owned());
        let problem = match self.tensors.get(name) {
            Some(tensor) if tensor.dims() == shape => return Ok(tensor.clone()),
            Some(tensor) => format!("`{name}` is {:?}, expected {shape:?}", tensor.dims()),
            None => format!("`{name}` is missing, expected {shape:?}"),
        };
        self.problems.borrow_mut().push(problem);
        Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
    }

    /// Takes a complaint of the network's own.
    pub(crate) fn complain(&self, problem: String) {
        self.problems.borrow_mut().push(problem);
    }

    /// Ends reading: all that was asked for must have been there, and all that is there asked for, but
    /// for names that `spare` says are of no use.
    ///
    /// # Errors
    /// [`EmbedError::Layout`] with the first ten complaints.
    pub(crate) fn finish(self, spare: impl Fn(&str) -> bool) -> Result<(), EmbedError> {
        let mut problems = self.problems.into_inner();
        let read = self.read.into_inner();
        let left = self.tensors.keys();
        let left = left.filter(|name| !read.contains(*name) && !spare(name));
        problems.extend(left.map(|name| format!("`{name}` is not of this network")));
        if problems.is_empty() {
            return Ok(());
        }
        let beyond = problems.len().saturating_sub(NAMED);
        problems.truncate(NAMED);
        if beyond > 0 {
            problems.push(format!("and {beyond} more"));
        }
        Err(EmbedError::Layout {
            path: self.path,
            problems: problems.join("; "),
        })
    }
}
