//! Gymnasium's spaces as [`agents::Spaces`], and the conversion of actions and observations from and to rows of `f32`.

use agents::{ActionSpace, Numbers, Spaces};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ops::Not as _;

/// An environment's spaces, and how to convert its actions.
pub(crate) struct SpaceCodec {
    pub(crate) spaces: Spaces,
    action: ActionCodec,
    /// The observations are images.
    image: Option<Image>,
}

/// Pixels of 0 to 255, which agents see as 0 to 1, channel by channel, as Stable-Baselines3's do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Image {
    /// The environment's images have their channels last.
    channels_last: bool,
}

/// How rows of `f32` become actions.
pub(crate) enum ActionCodec {
    Box {
        shape: Vec<usize>,
        own: Option<OwnNumbers>,
    },
    /// `number` is the type of the space's numbers.
    Discrete {
        start: i64,
        number: Py<PyAny>,
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
        let image = Image::of(&observation)?;
        let bytes = observation.getattr("dtype")?.eq("uint8")?;
        let numbers = match (image, bytes) {
            (Some(_), _) => Numbers::Pixels,
            (None, true) => Numbers::Bytes,
            (None, false) => Numbers::Any,
        };
        Ok(Self { spaces: Spaces { obs_dim, action, numbers }, action: codec, image })
    }

    /// Copies an observation into `out`, as agents see it.
    pub(crate) fn observation(&self, value: &Bound<'_, PyAny>, out: &mut [f32]) -> PyResult<()> {
        match self.image {
            Some(image) => image.copy(value, out),
            None => copy_observation(value, out),
        }
    }

    /// One action row in the form that the environment takes: a new array, since environments may keep it.
    pub(crate) fn action<'py>(&self, py: Python<'py>, row: &[f32]) -> PyResult<Bound<'py, PyAny>> {
        match &self.action {
            ActionCodec::Discrete { start, number } => {
                let choice = row.first().map_or(0, |&x| x as i64);
                number.bind(py).call1((start + choice,))
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
        let reversed = space.getattr("low")?.call_method1("__gt__", (space.getattr("high")?,))?;
        if reversed.call_method0("any")?.is_truthy()? {
            let message = format!("the action space {space} has a lower bound above its upper one");
            return Err(PyValueError::new_err(message));
        }
        let apart = space.getattr("low")?.call_method1("__lt__", (space.getattr("high")?,))?;
        let apart: Vec<bool> = apart.call_method0("ravel")?.call_method0("tolist")?.extract()?;
        let equal = |i: &usize| low.get(*i) == high.get(*i);
        if let Some(i) = (0..apart.len()).find(|i| apart.get(*i) == Some(&true) && equal(i)) {
            let bound = |name: &str| {
                let flat = space.getattr(name)?.call_method0("ravel")?;
                flat.get_item(i)?.call_method0("item")
            };
            let message = format!(
                "the action space {space} has bounds, {} and {}, that are one number in float32, in which agents compute; rescale it, for instance with gymnasium.wrappers.RescaleAction",
                bound("low")?,
                bound("high")?
            );
            return Err(PyValueError::new_err(message));
        }
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

impl ActionCodec {
    /// For a space that [`action_space`] accepts.
    pub(crate) fn new(space: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = space.py();
        if space.is_instance(&py.import("gymnasium.spaces")?.getattr("Discrete")?)? {
            let number = space.getattr("dtype")?.getattr("type")?.unbind();
            return Ok(Self::Discrete { start: space.getattr("start")?.extract()?, number });
        }
        let dtype = space.getattr("dtype")?;
        let single = dtype.eq(py.import("numpy")?.getattr("float32")?)?;
        let own = || -> PyResult<_> {
            Ok(OwnNumbers {
                integer: dtype.getattr("kind")?.eq("f")?.not(),
                // Copies: the bounds of the space may change.
                low: space.getattr("low")?.call_method0("copy")?.unbind(),
                high: space.getattr("high")?.call_method0("copy")?.unbind(),
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
            Self::Discrete { start, number } => {
                let choices: Vec<i64> = rows.iter().map(|&x| start + x as i64).collect();
                PyArray1::from_vec(py, choices).call_method1("astype", (number,))
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

impl Image {
    /// What Stable-Baselines3 takes for an image: three dimensions of bytes from 0 to 255.
    fn of(space: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let shape: Vec<usize> = space.getattr("shape")?.extract()?;
        let bytes = space.getattr("dtype")?.eq("uint8")?;
        let all = |name: &str, bound: u8| -> PyResult<bool> {
            let equal = space.getattr(name)?.call_method1("__eq__", (bound,))?;
            equal.call_method0("all")?.is_truthy()
        };
        if shape.len() != 3 || !bytes || !all("low", 0)? || !all("high", 255)? {
            return Ok(None);
        }
        // The channels are fewer than rows and columns.
        let fewest = shape.iter().enumerate().min_by_key(|(_, size)| **size);
        Ok(Some(Self { channels_last: fewest.is_some_and(|(axis, _)| axis != 0) }))
    }

    fn copy(self, value: &Bound<'_, PyAny>, out: &mut [f32]) -> PyResult<()> {
        let numpy = value.py().import("numpy")?;
        let array = numpy.call_method1("asarray", (value, "uint8"))?;
        let array: PyReadonlyArrayDyn<'_, u8> = array.extract()?;
        check_len(array.len(), out)?;
        let pixels = array.as_array();
        let pixels = match self.channels_last && pixels.ndim() == 3 {
            true => pixels.permuted_axes(vec![2, 0, 1]),
            false => pixels,
        };
        for (x, &pixel) in out.iter_mut().zip(pixels.iter()) {
            *x = f32::from(pixel) / 255.0;
        }
        Ok(())
    }
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
