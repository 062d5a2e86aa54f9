//! A saved agent: one safetensors file with its parameters and what it takes to run it again.

use crate::failure::Failure;
use crate::files;
use crate::run_dir::{make_folder, write_whole};
use agents::settings::Settings;
use agents::{Parameter, StateDict};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The file within `best_model/` and `final_model/`.
pub const FILE: &str = "model.safetensors";
/// The key of the file's metadata that holds a [`ModelCard`] as JSON.
const METADATA: &str = "stac_bench";

/// What a model was trained as, on and with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelCard {
    /// Name of the algorithm.
    pub algo: String,
    /// Gymnasium id.
    pub env: String,
    /// Keyword arguments of `gymnasium.make`.
    pub env_kwargs: Settings,
    /// Modules that register environments.
    pub env_import: Vec<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Environment steps trained for.
    pub steps: u64,
    /// The algorithm's settings.
    pub settings: Settings,
}

/// Writes `folder/model.safetensors`. Parameters that are not finite are refused, so that an older
/// model stays.
pub fn save(folder: &Path, agent: &dyn StateDict, card: &ModelCard) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let parameters = agent.parameters();
    if let Some(bad) = parameters.iter().find(|p| p.values.iter().any(|x| !x.is_finite())) {
        let message = format!("`{}` holds values that are not finite; nothing is saved", bad.name);
        return Err(agents::Error::Parameters(message).into());
    }
    let bytes: Vec<Vec<u8>> = parameters
        .iter()
        .map(|p| p.values.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let serialize = || -> std::io::Result<Vec<u8>> {
        let other = std::io::Error::other::<safetensors::SafeTensorError>;
        let views = parameters.iter().zip(&bytes).map(|(parameter, bytes)| {
            let view = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes);
            Ok((parameter.name.as_str(), view.map_err(other)?))
        });
        let views = views.collect::<std::io::Result<Vec<_>>>()?;
        let metadata = HashMap::from([(METADATA.to_owned(), serde_json::to_string(card)?)]);
        safetensors::serialize(views, Some(metadata)).map_err(other)
    };
    make_folder(folder)?;
    write_whole(&path, &serialize().map_err(Failure::file("write", &path))?)
}

/// An error if the card asks for networks that cannot be those of the file: before they are made, which could take all
/// memory.
pub fn refuse_larger(card: &ModelCard, held: usize) -> Result<(), Failure> {
    let asked = largest_net(&Value::Object(card.settings.clone()));
    if asked <= held as u128 {
        return Ok(());
    }
    let reason =
        format!("the file holds {held} numbers, and its settings ask for more than {asked}");
    Err(agents::Error::Parameters(reason).into())
}

/// The weights between the hidden layers of the largest network in `settings`.
fn largest_net(settings: &Value) -> u128 {
    match settings {
        Value::Array(sizes) => {
            let sizes: Vec<u128> = sizes.iter().filter_map(Value::as_u64).map(Into::into).collect();
            let products =
                sizes.iter().zip(sizes.iter().skip(1)).map(|(a, b)| a.saturating_mul(*b));
            products.fold(sizes.iter().copied().max().unwrap_or(0), u128::saturating_add)
        }
        Value::Object(entries) => entries.values().map(largest_net).max().unwrap_or(0),
        _ => 0,
    }
}

/// Reads what [`save`] wrote.
pub fn load(folder: &Path) -> Result<(ModelCard, Vec<Parameter>), Failure> {
    let path = folder.join(FILE);
    let bytes = files::read(&path, u64::MAX).map_err(Failure::file("read", &path))?;
    read(&bytes).map_err(|reason| Failure::NoRun { path, reason })
}

fn read(bytes: &[u8]) -> Result<(ModelCard, Vec<Parameter>), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let card = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
    let card = card.ok_or("it was not written by stac-bench")?;
    let card = serde_json::from_str(card).map_err(|error| error.to_string())?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let parameters = tensors.iter().map(|(name, tensor)| Parameter {
        name: name.to_owned(),
        shape: tensor.shape().to_vec(),
        values: tensor.data().as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect(),
    });
    Ok((card, parameters.collect()))
}
