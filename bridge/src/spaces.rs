//! Gymnasium's spaces as [`agents::Spaces`], and the conversion of actions and observations from and to rows of `f32`.

use agents::{ActionSpace, Spaces};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::Not as _;

/// An environment's spaces, and how to convert its actions.
pub(crate) struct SpaceCodec {
    pub(crate) spaces: Spaces,
    action: ActionCodec,
}

/// How rows of `f32` become actions.
pub(crate) enum ActionCodec {
    Box {
        shape: Vec<usize>,
        own: Option<OwnNumbers>,
    },
    /// `dtype` is the space's integer type.
    Discrete {
        start: i64,
        dtype: Py<PyAny>,
    },
}

/// How float32 becomes a space's own number type: rounded if that is an integer type, then clipped to the bounds, which
/// float32 may not represent exactly.
pub(crate) struct OwnNumbers {
    dtype: Py<PyAny>,
    integer: bool,
    low: Py<PyAny>,
    high: Py<PyAny>,
}

impl SpaceCodec {
    /// Reads both spaces of `env`.
    ///
    /// # Errors
    /// A `ValueError` that names a space which no agent can use.
    pub(crate) fn new(env: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = env.py();
        let observation = env.getattr("observation_space")?;
        if !observation.is_instance(&py.import("gymnasium.spaces")?.getattr("Box")?)? {
            let message = format!(
                "the observation space is {observation}; agents take Box (wrap it, for instance with FlattenObservation)"
            );
            return Err(PyValueError::new_err(message));
        }
        let shape: Vec<usize> = observation.getattr("shape")?.extract()?;
        let obs_dim = shape.iter().product();
        if obs_dim == 0 {
            let message = format!("the observation space {observation} holds no numbers");
            return Err(PyValueError::new_err(message));
        }

        let action = action_space(&env.getattr("action_space")?)?;
        let codec = ActionCodec::new(&env.getattr("action_space")?)?;
        Ok(Self { spaces: Spaces { obs_dim, action }, action: codec })
    }

    /// One action row in the form that the environment takes: a new array, since environments may keep it.
    pub(crate) fn action<'py>(&self, py: Python<'py>, row: &[f32]) -> PyResult<Bound<'py, PyAny>> {
        match &self.action {
            ActionCodec::Discrete { start, dtype } => {
                let choice = row.first().map_or(0, |&x| x as i64);
                dtype.bind(py).call1((start + choice,))
            }
            ActionCodec::Box { shape, own } => shaped(py, row, shape, own.as_ref()),
        }
    }
}

/// The action space that agents see.
///
/// # Errors
/// A `ValueError` if no agent can use `space`.
pub(crate) fn action_space(space: &Bound<'_, PyAny>) -> PyResult<ActionSpace> {
    let kinds = space.py().import("gymnasium.spaces")?;
    if space.is_instance(&kinds.getattr("Box")?)? {
        let flat = |name: &str| -> PyResult<Vec<f32>> {
            let array = space.getattr(name)?.call_method1("astype", ("float32",))?;
            array.call_method0("ravel")?.extract()
        };
        let (low, high) = (flat("low")?, flat("high")?);
        if low.is_empty() {
            let message = format!("the action space {space} holds no numbers");
            return Err(PyValueError::new_err(message));
        }
        check_bounds(space)?;
        if low.iter().zip(&high).any(|(low, high)| !(high - low).is_finite()) {
            let message = format!(
                "the action space {space} has infinite bounds; rescale it, for instance with gymnasium.wrappers.RescaleAction"
            );
            return Err(PyValueError::new_err(message));
        }
        return Ok(ActionSpace::Box { low, high });
    }
    if space.is_instance(&kinds.getattr("Discrete")?)? {
        return Ok(ActionSpace::Discrete { n: space.getattr("n")?.extract()? });
    }
    Err(PyValueError::new_err(format!("the action space is {space}; agents take Box or Discrete")))
}

/// Refuses bounds that leave no range, also where only `f32` cannot tell them apart. Equal bounds are as the user says.
fn check_bounds(space: &Bound<'_, PyAny>) -> PyResult<()> {
    let flat = |name: &str| -> PyResult<Vec<f64>> {
        let array = space.getattr(name)?.call_method1("astype", ("float64",))?;
        array.call_method0("ravel")?.extract()
    };
    for (low, high) in flat("low")?.into_iter().zip(flat("high")?) {
        let why = if low > high {
            "the low bound is above the high one"
        } else if low < high && low as f32 == high as f32 {
            "float32, in which agents compute, cannot tell them apart; rescale it, for instance with gymnasium.wrappers.RescaleAction"
        } else {
            continue;
        };
        let message = format!("the action space has the bounds {low:?} and {high:?}: {why}");
        return Err(PyValueError::new_err(message));
    }
    Ok(())
}

impl ActionCodec {
    /// For a space that [`action_space`] accepts.
    pub(crate) fn new(space: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = space.py();
        if space.is_instance(&py.import("gymnasium.spaces")?.getattr("Discrete")?)? {
            let start = space.getattr("start")?.extract()?;
            let dtype = space.getattr("dtype")?.getattr("type")?.unbind();
            return Ok(Self::Discrete { start, dtype });
        }
        let dtype = space.getattr("dtype")?;
        let single = dtype.eq(py.import("numpy")?.getattr("float32")?)?;
        let own = || -> PyResult<_> {
            Ok(OwnNumbers {
                integer: dtype.getattr("kind")?.eq("f")?.not(),
                low: space.getattr("low")?.unbind(),
                high: space.getattr("high")?.unbind(),
                dtype: dtype.clone().unbind(),
            })
        };
        let own = if single { None } else { Some(own()?) };
        Ok(Self::Box { shape: space.getattr("shape")?.extract()?, own })
    }

    /// `n` rows as one array with a row per environment.
    pub(crate) fn actions<'py>(
        &self,
        py: Python<'py>,
        rows: &[f32],
        n: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Discrete { start, .. } => {
                let choices: Vec<i64> = rows.iter().map(|&x| start + x as i64).collect();
                Ok(PyArray1::from_vec(py, choices).into_any())
            }
            Self::Box { shape, own } => {
                let shape: Vec<usize> = std::iter::once(n).chain(shape.iter().copied()).collect();
                shaped(py, rows, &shape, own.as_ref())
            }
        }
    }
}

fn shaped<'py>(
    py: Python<'py>,
    values: &[f32],
    shape: &[usize],
    own: Option<&OwnNumbers>,
) -> PyResult<Bound<'py, PyAny>> {
    let flat = PyArray1::from_slice(py, values);
    let array = if shape.len() == 1 { flat.into_any() } else { flat.reshape(shape)?.into_any() };
    let Some(OwnNumbers { dtype, integer, low, high }) = own else { return Ok(array) };
    let array = if *integer { array.call_method0("round")? } else { array };
    array.call_method1("astype", (dtype,))?.call_method1("clip", (low, high))
}

/// Copies an observation of any shape and number type into `out`.
pub(crate) fn copy_observation(observation: &Bound<'_, PyAny>, out: &mut [f32]) -> PyResult<()> {
    if let Ok(array) = observation.extract::<PyReadonlyArrayDyn<'_, f64>>() {
        check_len(array.len(), out)?;
        // MuJoCo's state is float64; agents compute in float32.
        for (x, value) in out.iter_mut().zip(array.as_array()) {
            *x = *value as f32;
        }
        return Ok(());
    }
    let array = match observation.extract::<PyReadonlyArrayDyn<'_, f32>>() {
        Ok(array) => array,
        Err(_) => {
            let py = observation.py();
            let kwargs = PyDict::new(py);
            kwargs.set_item("dtype", "float32")?;
            let array =
                py.import("numpy")?.call_method("asarray", (observation,), Some(&kwargs))?;
            array.extract()?
        }
    };
    check_len(array.len(), out)?;
    for (x, value) in out.iter_mut().zip(array.as_array()) {
        *x = *value;
    }
    Ok(())
}

fn check_len(len: usize, out: &[f32]) -> PyResult<()> {
    if len == out.len() {
        return Ok(());
    }
    let message =
        format!("an observation has {len} numbers, but the observation space says {}", out.len());
    Err(PyValueError::new_err(message))
}
