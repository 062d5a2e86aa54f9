//! Critics of state and action, one or several of one shape.

use crate::engine::autograd::{Factors, TensorMlp};
use crate::nn::{Activation, Mlp};
use tch::Tensor;

/// The network of each critic `Q_b(s, a)`, whose parameters lie one after the other.
#[derive(Clone)]
pub(super) struct Critics {
    network: TensorMlp,
    /// How many there are.
    pub(super) count: usize,
}

impl Critics {
    /// `count` critics with hidden layers `net_arch` on `inputs` numbers.
    pub(super) fn new(
        inputs: usize,
        net_arch: &[usize],
        activation_fn: Activation,
        count: usize,
    ) -> Self {
        Self { network: TensorMlp(Mlp::new(inputs, net_arch, 1, activation_fn)), count }
    }

    /// One critic's network.
    pub(super) fn network(&self) -> &Mlp {
        &self.network.0
    }

    /// The actions before `tanh` as outputs of an actor with these critics: if their slope by the action is piecewise
    /// constant, the Hessian of the actor's objective by them is diagonal.
    pub(super) fn outputs_of_actor(
        &self,
        z: Tensor,
        factors: Factors,
    ) -> Option<(Tensor, Factors)> {
        self.network().is_piecewise_linear().then_some((z, factors))
    }

    /// `Q_b(s, a)` of every critic, each of length `B`, with what their layers saw.
    pub(super) fn values(
        &self,
        w: &Tensor,
        obs: &Tensor,
        actions: &Tensor,
    ) -> Vec<(Tensor, Factors)> {
        let input = Tensor::cat(&[obs, actions], 1);
        let one = |w: &Tensor| {
            let (q, factors) = self.network.forward_with_factors(w, input.shallow_clone());
            (q.squeeze_dim(1), factors)
        };
        w.chunk(self.count as i64, 0).iter().map(one).collect()
    }

    /// `min_b Q_b(s, a)`
    pub(super) fn least(&self, w: &Tensor, obs: &Tensor, actions: &Tensor) -> Tensor {
        let values = self.values(w, obs, actions).into_iter().map(|(q, _)| q);
        values.reduce(|least, q| least.minimum(&q)).unwrap_or_default()
    }

    /// `Q_1(s, a)`
    pub(super) fn first(&self, w: &Tensor, obs: &Tensor, actions: &Tensor) -> Tensor {
        let w = w.narrow(0, 0, self.network().dim() as i64);
        Self { count: 1, ..self.clone() }.least(&w, obs, actions)
    }
}
