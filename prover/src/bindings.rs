//! The Python module `zkpot_prover`: bytes in, bytes out, the GIL released during work.

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::api::{self, AccuracyItem, Batch, WellformedItem};
use crate::error::{Error, Result};
use crate::statement::shape::Shape as Inner;
use crate::sums;

create_exception!(
    zkpot_prover,
    ProofError,
    PyValueError,
    "A proof, commitment, opening or input was refused."
);
create_exception!(
    zkpot_prover,
    ShapeError,
    PyValueError,
    "A shape or batch size was refused."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        if error.is_shape() {
            ShapeError::new_err(error.to_string())
        } else {
            ProofError::new_err(error.to_string())
        }
    }
}

/// Dims, shifts and bias bits of a model, checked.
#[pyclass(frozen, eq, module = "zkpot_prover")]
#[derive(Clone, PartialEq)]
struct Shape(Inner);

#[pymethods]
impl Shape {
    #[new]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "pyo3 converts lists to vectors"
    )]
    fn new(dims: Vec<u64>, shifts: Vec<u64>, bias_bits: u64) -> Result<Self> {
        Inner::new(&dims, &shifts, bias_bits).map(Self)
    }

    #[getter]
    fn dims(&self) -> Vec<usize> {
        self.0.dims.clone()
    }

    #[getter]
    fn shifts(&self) -> Vec<u32> {
        self.0.shifts.clone()
    }

    #[getter]
    fn bias_bits(&self) -> u32 {
        self.0.bias_bits
    }

    #[getter]
    fn parameters(&self) -> usize {
        self.0.parameters()
    }

    #[getter]
    fn commitment_bytes(&self) -> usize {
        self.0.commitment_bytes()
    }

    #[getter]
    fn blinding_bytes(&self) -> usize {
        self.0.commitment_bytes()
    }

    #[getter]
    fn wellformed_bytes(&self) -> usize {
        api::wellformed_bytes(&self.0)
    }

    fn proof_bytes(&self, batch: usize) -> Result<usize> {
        api::accuracy_bytes(&self.0, batch)
    }

    fn __repr__(&self) -> String {
        format!(
            "Shape(dims={:?}, shifts={:?}, bias_bits={})",
            self.0.dims, self.0.shifts, self.0.bias_bits
        )
    }
}

/// Runs without the GIL on the wanted number of threads.
fn run<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    f: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    py.detach(|| api::with_threads(threads, f)?)
}

fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, bytes)
}

#[pyfunction]
fn random_blinding<'py>(py: Python<'py>, shape: &Shape) -> Result<Bound<'py, PyBytes>> {
    Ok(bytes(py, &api::random_blinding(&shape.0)?))
}

#[pyfunction]
fn commit<'py>(
    py: Python<'py>,
    shape: &Shape,
    theta: &[u8],
    blinding: &[u8],
) -> Result<Bound<'py, PyBytes>> {
    Ok(bytes(
        py,
        &run(py, None, || api::commit(&shape.0, theta, blinding))?,
    ))
}

#[pyfunction]
#[pyo3(signature = (shape, theta, blinding, context, *, threads=None, constant_time=true))]
fn prove_wellformed<'py>(
    py: Python<'py>,
    shape: &Shape,
    theta: &[u8],
    blinding: &[u8],
    context: &[u8],
    threads: Option<usize>,
    constant_time: bool,
) -> Result<Bound<'py, PyBytes>> {
    let work = || api::prove_wellformed(&shape.0, theta, blinding, context, constant_time);
    Ok(bytes(py, &run(py, threads, work)?))
}

#[pyfunction]
#[pyo3(signature = (shape, commitment, context, proof, *, threads=None))]
fn verify_wellformed(
    py: Python<'_>,
    shape: &Shape,
    commitment: &[u8],
    context: &[u8],
    proof: &[u8],
    threads: Option<usize>,
) -> Result<()> {
    run(py, threads, || {
        api::verify_wellformed(
            &shape.0,
            WellformedItem {
                commitment,
                context,
                proof,
            },
        )
    })
}

#[pyfunction]
#[pyo3(signature = (shape, theta, blinding, inputs, labels, context, *, commitment=None, threads=None, constant_time=true))]
#[allow(clippy::too_many_arguments, reason = "the Python signature")]
fn prove<'py>(
    py: Python<'py>,
    shape: &Shape,
    theta: &[u8],
    blinding: &[u8],
    inputs: &[u8],
    labels: &[u8],
    context: &[u8],
    commitment: Option<&[u8]>,
    threads: Option<usize>,
    constant_time: bool,
) -> Result<(u64, Bound<'py, PyBytes>)> {
    let batch = Batch { inputs, labels };
    let work = || {
        api::prove(
            &shape.0,
            theta,
            blinding,
            commitment,
            batch,
            context,
            constant_time,
        )
    };
    let (count, proof) = run(py, threads, work)?;
    Ok((count, bytes(py, &proof)))
}

#[pyfunction]
#[pyo3(signature = (shape, commitment, inputs, labels, context, count, proof, *, threads=None))]
#[allow(clippy::too_many_arguments, reason = "the Python signature")]
fn verify(
    py: Python<'_>,
    shape: &Shape,
    commitment: &[u8],
    inputs: &[u8],
    labels: &[u8],
    context: &[u8],
    count: u64,
    proof: &[u8],
    threads: Option<usize>,
) -> Result<()> {
    let item = AccuracyItem {
        commitment,
        context,
        count,
        proof,
    };
    run(py, threads, || {
        api::verify(&shape.0, Batch { inputs, labels }, item)
    })
}

/// Commitment, context, count, proof.
type AccuracyTuple<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    u64,
    Bound<'py, PyBytes>,
);

fn reasons(results: Vec<Result<()>>) -> Vec<Option<String>> {
    results
        .into_iter()
        .map(|result| result.err().map(|error: Error| error.to_string()))
        .collect()
}

#[pyfunction]
#[pyo3(signature = (shape, inputs, labels, items, *, threads=None))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 converts lists to vectors"
)]
fn verify_many(
    py: Python<'_>,
    shape: &Shape,
    inputs: &[u8],
    labels: &[u8],
    items: Vec<AccuracyTuple<'_>>,
    threads: Option<usize>,
) -> Result<Vec<Option<String>>> {
    let items: Vec<_> = items
        .iter()
        .map(|(commitment, context, count, proof)| AccuracyItem {
            commitment: commitment.as_bytes(),
            context: context.as_bytes(),
            count: *count,
            proof: proof.as_bytes(),
        })
        .collect();
    run(py, threads, || {
        api::verify_many(&shape.0, Batch { inputs, labels }, &items)
    })
    .map(reasons)
}

#[pyfunction]
#[pyo3(signature = (shape, items, *, threads=None))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 converts lists to vectors"
)]
fn verify_wellformed_many(
    py: Python<'_>,
    shape: &Shape,
    items: Vec<(Bound<'_, PyBytes>, Bound<'_, PyBytes>, Bound<'_, PyBytes>)>,
    threads: Option<usize>,
) -> Result<Vec<Option<String>>> {
    let items: Vec<_> = items
        .iter()
        .map(|(commitment, context, proof)| WellformedItem {
            commitment: commitment.as_bytes(),
            context: context.as_bytes(),
            proof: proof.as_bytes(),
        })
        .collect();
    run(py, threads, || {
        api::verify_wellformed_many(&shape.0, &items)
    })
    .map(reasons)
}

#[pyfunction]
fn count(py: Python<'_>, shape: &Shape, theta: &[u8], inputs: &[u8], labels: &[u8]) -> Result<u64> {
    run(py, None, || {
        api::count(&shape.0, theta, Batch { inputs, labels })
    })
}

#[pyfunction]
#[pyo3(signature = (shape, commitments, weights=None))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 converts lists to vectors"
)]
fn add<'py>(
    py: Python<'py>,
    shape: &Shape,
    commitments: Vec<Bound<'py, PyBytes>>,
    weights: Option<Vec<i64>>,
) -> Result<Bound<'py, PyBytes>> {
    let commitments: Vec<_> = commitments.iter().map(PyBytesMethods::as_bytes).collect();
    Ok(bytes(
        py,
        &run(py, None, || {
            sums::add(&shape.0, &commitments, weights.as_deref())
        })?,
    ))
}

#[pyfunction]
#[pyo3(signature = (shape, blindings, weights=None))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 converts lists to vectors"
)]
fn add_blindings<'py>(
    py: Python<'py>,
    shape: &Shape,
    blindings: Vec<Bound<'py, PyBytes>>,
    weights: Option<Vec<i64>>,
) -> Result<Bound<'py, PyBytes>> {
    let blindings: Vec<_> = blindings.iter().map(PyBytesMethods::as_bytes).collect();
    Ok(bytes(
        py,
        &sums::add_blindings(&shape.0, &blindings, weights.as_deref())?,
    ))
}

#[pyfunction]
fn check_opening(
    py: Python<'_>,
    shape: &Shape,
    commitment: &[u8],
    theta_sum: &[u8],
    blinding_sum: &[u8],
) -> Result<()> {
    run(py, None, || {
        sums::check_opening(&shape.0, commitment, theta_sum, blinding_sum)
    })
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("ProofError", py.get_type::<ProofError>())?;
    module.add("ShapeError", py.get_type::<ShapeError>())?;
    module.add_class::<Shape>()?;
    module.add_function(wrap_pyfunction!(random_blinding, module)?)?;
    module.add_function(wrap_pyfunction!(commit, module)?)?;
    module.add_function(wrap_pyfunction!(prove_wellformed, module)?)?;
    module.add_function(wrap_pyfunction!(verify_wellformed, module)?)?;
    module.add_function(wrap_pyfunction!(prove, module)?)?;
    module.add_function(wrap_pyfunction!(verify, module)?)?;
    module.add_function(wrap_pyfunction!(verify_many, module)?)?;
    module.add_function(wrap_pyfunction!(verify_wellformed_many, module)?)?;
    module.add_function(wrap_pyfunction!(count, module)?)?;
    module.add_function(wrap_pyfunction!(add, module)?)?;
    module.add_function(wrap_pyfunction!(add_blindings, module)?)?;
    module.add_function(wrap_pyfunction!(check_opening, module)?)?;
    Ok(())
}
