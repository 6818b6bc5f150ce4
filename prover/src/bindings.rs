//! The Python module `zkpot_prover`: bytes in, bytes out, the GIL released during work.

use pyo3::conversion::FromPyObjectOwned;
use pyo3::create_exception;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::api::{self, AccuracyItem, Batch, WellformedItem};
use crate::error::{Error, Result};
use crate::statement::shape::{MAX_LAYERS, Shape as Inner};
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

/// A number that has limits; one that no `u64` holds becomes the largest, beyond all of them. So a
/// number from elsewhere is refused like any other that is too large, not with an `OverflowError`.
#[derive(Clone, Copy)]
struct Limited(u64);

impl<'py> FromPyObject<'_, 'py> for Limited {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match number.extract::<u64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(number.py()) => {
                Ok(Self(u64::MAX))
            }
            number => number.map(Self),
        }
    }
}

impl Limited {
    fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The weight of a summand.
struct Weight(i64);

impl<'py> FromPyObject<'_, 'py> for Weight {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match number.extract::<i64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(number.py()) => {
                Err(Error::Weight.into())
            }
            number => number.map(Self),
        }
    }
}

/// The first `limit` items of a sequence, whatever length it claims to have.
fn first_items<'py, T: FromPyObjectOwned<'py>>(
    sequence: &Bound<'py, PyAny>,
    limit: usize,
) -> PyResult<Vec<T>> {
    let item = |item: PyResult<Bound<'py, PyAny>>| item?.extract::<T>().map_err(Into::into);
    sequence.try_iter()?.take(limit).map(item).collect()
}

fn all_items<'py, T: FromPyObjectOwned<'py>>(sequence: &Bound<'py, PyAny>) -> PyResult<Vec<T>> {
    first_items(sequence, usize::MAX)
}

/// Dims, shifts and bias bits of a model, checked.
#[pyclass(frozen, eq, module = "zkpot_prover")]
#[derive(Clone, PartialEq)]
struct Shape(Inner);

#[pymethods]
impl Shape {
    #[new]
    fn new(
        dims: &Bound<'_, PyAny>,
        shifts: &Bound<'_, PyAny>,
        bias_bits: Limited,
    ) -> PyResult<Self> {
        // One more than allowed is enough to be refused for its length.
        let numbers = |sequence| -> PyResult<Vec<u64>> {
            let numbers: Vec<Limited> = first_items(sequence, MAX_LAYERS + 2)?;
            Ok(numbers.iter().map(|number| number.0).collect())
        };
        Ok(Self(Inner::new(
            &numbers(dims)?,
            &numbers(shifts)?,
            bias_bits.0,
        )?))
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

    fn proof_bytes(&self, batch: Limited) -> Result<usize> {
        api::accuracy_bytes(&self.0, batch.to_usize())
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
    threads: Option<Limited>,
    f: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let threads = threads.map(Limited::to_usize);
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
    threads: Option<Limited>,
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
    threads: Option<Limited>,
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
    threads: Option<Limited>,
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
    count: Limited,
    proof: &[u8],
    threads: Option<Limited>,
) -> Result<()> {
    let item = AccuracyItem {
        commitment,
        context,
        count: count.0,
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
    Limited,
    Bound<'py, PyBytes>,
);

/// Commitment, context, proof.
type WellformedTuple<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
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
fn verify_many<'py>(
    py: Python<'py>,
    shape: &Shape,
    inputs: &[u8],
    labels: &[u8],
    items: &Bound<'py, PyAny>,
    threads: Option<Limited>,
) -> PyResult<Vec<Option<String>>> {
    let items: Vec<AccuracyTuple<'py>> = all_items(items)?;
    let items: Vec<_> = items
        .iter()
        .map(|(commitment, context, count, proof)| AccuracyItem {
            commitment: commitment.as_bytes(),
            context: context.as_bytes(),
            count: count.0,
            proof: proof.as_bytes(),
        })
        .collect();
    let results = run(py, threads, || {
        api::verify_many(&shape.0, Batch { inputs, labels }, &items)
    })?;
    Ok(reasons(results))
}

#[pyfunction]
#[pyo3(signature = (shape, items, *, threads=None))]
fn verify_wellformed_many<'py>(
    py: Python<'py>,
    shape: &Shape,
    items: &Bound<'py, PyAny>,
    threads: Option<Limited>,
) -> PyResult<Vec<Option<String>>> {
    let items: Vec<WellformedTuple<'py>> = all_items(items)?;
    let items: Vec<_> = items
        .iter()
        .map(|(commitment, context, proof)| WellformedItem {
            commitment: commitment.as_bytes(),
            context: context.as_bytes(),
            proof: proof.as_bytes(),
        })
        .collect();
    let results = run(py, threads, || {
        api::verify_wellformed_many(&shape.0, &items)
    })?;
    Ok(reasons(results))
}

#[pyfunction]
fn count(py: Python<'_>, shape: &Shape, theta: &[u8], inputs: &[u8], labels: &[u8]) -> Result<u64> {
    run(py, None, || {
        api::count(&shape.0, theta, Batch { inputs, labels })
    })
}

/// One more weight than summands is enough to be refused for their number.
fn summand_weights(
    weights: Option<&Bound<'_, PyAny>>,
    summands: usize,
) -> PyResult<Option<Vec<i64>>> {
    let Some(weights) = weights else {
        return Ok(None);
    };
    let weights: Vec<Weight> = first_items(weights, summands + 1)?;
    Ok(Some(weights.iter().map(|weight| weight.0).collect()))
}

#[pyfunction]
#[pyo3(signature = (shape, commitments, weights=None))]
fn add<'py>(
    py: Python<'py>,
    shape: &Shape,
    commitments: &Bound<'py, PyAny>,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let commitments: Vec<Bound<'py, PyBytes>> = all_items(commitments)?;
    let commitments: Vec<_> = commitments.iter().map(PyBytesMethods::as_bytes).collect();
    let weights = summand_weights(weights, commitments.len())?;
    Ok(bytes(
        py,
        &run(py, None, || {
            sums::add(&shape.0, &commitments, weights.as_deref())
        })?,
    ))
}

#[pyfunction]
#[pyo3(signature = (shape, blindings, weights=None))]
fn add_blindings<'py>(
    py: Python<'py>,
    shape: &Shape,
    blindings: &Bound<'py, PyAny>,
    weights: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let blindings: Vec<Bound<'py, PyBytes>> = all_items(blindings)?;
    let blindings: Vec<_> = blindings.iter().map(PyBytesMethods::as_bytes).collect();
    let weights = summand_weights(weights, blindings.len())?;
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
