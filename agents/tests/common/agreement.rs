//! Whether two engines compute the same of one algorithm, at random points.

use agents::algo::algorithm::OffPolicy;
use agents::engine::autograd::{Autograd, Element};
use agents::engine::fused::Fused;
use agents::engine::{Engine, FrozenGame, Point, Role};
use agents::flat::{self, Scalar};
use agents::game::{Game, Player};
use agents::memory::Batch;
use agents::rng::{Purpose, Rng};
use serde_json::{Value, json};
use tch::Device;

pub const OBS: usize = 4;
pub const ACT: usize = 2;
pub const PLAYERS: [Player; 2] = [Player::Leader, Player::Follower];
pub const ROLES: [Role; 2] = [Role::Actor, Role::Critic];

/// Random parameters, directions and batches.
pub struct Random(pub Rng);

impl Random {
    pub fn normals<T: Scalar>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| self.0.normal()).collect()
    }

    /// Weights of the size of fresh ones, larger in `gain`: networks away from linear.
    pub fn params<T: Scalar>(&mut self, family: &impl OffPolicy, role: Role, gain: f64) -> Vec<T> {
        let (network, count) = match role {
            Role::Actor => (family.actor(), 1),
            Role::Critic => (family.critic(), family.critics()),
        };
        let mut params: Vec<T> = (0..count).flat_map(|_| network.init(&mut self.0)).collect();
        flat::scale(T::of(gain), &mut params);
        params
    }

    pub fn batch<T: Scalar>(&mut self, size: usize) -> Batch<T> {
        Batch {
            size,
            obs: self.normals(size * OBS),
            actions: (0..size * ACT).map(|_| self.0.uniform(-1.0, 1.0)).collect(),
            rewards: self.normals(size),
            next_obs: self.normals(size * OBS),
            dones: (0..size).map(|i| T::of(f64::from(u8::from(i % 4 == 3)))).collect(),
            noise: self.normals(size * ACT),
            next_noise: self.normals(size * ACT),
        }
    }
}

/// A point of a game, owned.
pub struct At<T> {
    pub params: [Vec<T>; 4],
    pub batch: Batch<T>,
}

impl<T: Scalar> At<T> {
    pub fn to<U: Scalar>(&self) -> At<U> {
        let Batch { size, obs, actions, rewards, next_obs, dones, noise, next_noise } = &self.batch;
        let batch = Batch {
            size: *size,
            obs: to(obs),
            actions: to(actions),
            rewards: to(rewards),
            next_obs: to(next_obs),
            dones: to(dones),
            noise: to(noise),
            next_noise: to(next_noise),
        };
        At { params: self.params.each_ref().map(|params| to(params)), batch }
    }

    pub fn point(&self) -> Point<'_, T, Batch<T>> {
        let [actor, critic, target_actor, target_critic] = &self.params;
        Point { actor, critic, target_actor, target_critic, batch: &self.batch, ent_coef: 0.3 }
    }
}

/// Equality up to `tolerance` times the norm of what is wanted.
#[track_caller]
pub fn assert_same<T: Scalar>(got: &[T], want: &[T], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len());
    let difference: Vec<T> = got.iter().zip(want).map(|(&a, &b)| a - b).collect();
    let (error, norm) = (flat::norm(&difference).as_f64(), flat::norm(want).as_f64());
    assert!(error <= tolerance * norm, "{what}: {error:e} of {norm:e}");
}

/// Directions in the space of the leader, the follower and the critics' outputs.
pub struct Along<T> {
    leader: Vec<T>,
    follower: Vec<T>,
    outputs: Vec<T>,
}

impl<T: Scalar> Along<T> {
    pub fn random(game: &mut dyn FrozenGame<T>, random: &mut Random) -> Self {
        let outputs = game.composite().map_or(0, |it| it.blocks() * it.rows());
        Self {
            leader: random.normals(game.dim(Player::Leader)),
            follower: random.normals(game.dim(Player::Follower)),
            outputs: random.normals(outputs),
        }
    }

    pub fn of(&self, player: Player) -> &[T] {
        match player {
            Player::Leader => &self.leader,
            Player::Follower => &self.follower,
        }
    }

    pub fn to<U: Scalar>(&self) -> Along<U> {
        Along { leader: to(&self.leader), follower: to(&self.follower), outputs: to(&self.outputs) }
    }
}

pub fn to<T: Scalar, U: Scalar>(values: &[T]) -> Vec<U> {
    values.iter().map(|value| U::of(value.as_f64())).collect()
}

/// Everything that a game computes, by name.
pub fn parts<T: Scalar>(game: &mut dyn FrozenGame<T>, along: &Along<T>) -> Vec<(String, Vec<T>)> {
    let Along { leader: u, follower: v, outputs } = along;
    let mut parts = Vec::new();
    let mut part = |name: &str, len: usize, compute: &mut dyn FnMut(&mut [T])| {
        let mut out = vec![T::nan(); len];
        compute(&mut out);
        parts.push((name.to_owned(), out));
    };
    // Second derivatives first: nothing may rest on gradients having been asked for.
    part("D22 f2 v", v.len(), &mut |out| game.follower_hvp(v, out).unwrap());
    part("D1 (D2 f2 . v)", u.len(), &mut |out| game.cross_vjp(v, out).unwrap());
    part("D11 f1 u", u.len(), &mut |out| game.leader_hvp(u, out).unwrap());
    for of in PLAYERS {
        for wrt in PLAYERS {
            let gradient = &mut |out: &mut [T]| game.gradient(of, wrt, out).unwrap();
            part(&format!("D_{wrt:?} f_{of:?}"), along.of(wrt).len(), gradient);
        }
    }
    part("losses, saturation, entropy", 4, &mut |out| {
        out[0] = T::of(game.objective(Player::Leader).unwrap());
        out[1] = T::of(game.objective(Player::Follower).unwrap());
        out[2] = T::of(game.policy_saturation().unwrap().unwrap());
        out[3] = T::of(game.entropy().unwrap().unwrap_or(0.0));
    });
    let Some(squares) = game.composite() else { return parts };
    let (rows, all) = (squares.rows(), outputs.len());
    for block in 0..squares.blocks() {
        part("K", rows * rows, &mut |out| squares.gram(block, out).unwrap());
        // Some rows, of which some have no curvature: the solver asks for others only.
        let some: Vec<usize> = (0..rows).step_by(2).collect();
        part("upper K of some rows", some.len() * some.len(), &mut |out| {
            squares.gram_of(block, &some, out).unwrap();
            for (i, row) in out.chunks_exact_mut(some.len()).enumerate() {
                row[..i].fill(T::zero());
            }
        });
    }
    part("h'' u", all, &mut |out| {
        out.copy_from_slice(outputs);
        squares.times_outer_hessian(out).unwrap();
    });
    part("h'' K", all, &mut |out| {
        let mut curvature = vec![T::one(); all];
        squares.times_outer_hessian(&mut curvature).unwrap();
        for (block, out) in out.chunks_exact_mut(rows).enumerate() {
            squares.gram_diagonal(block, out).unwrap();
        }
        out.iter_mut().zip(curvature).for_each(|(k, h)| *k *= h);
    });
    part("J D2 f1", all, &mut |out| squares.jacobian_leader_gradient(out).unwrap());
    part("J v", all, &mut |out| squares.jacobian(v, out).unwrap());
    part("J' u", v.len(), &mut |out| squares.jacobian_transpose(outputs, out).unwrap());
    part("cross term of outputs", u.len(), &mut |out| {
        squares.cross_vjp_of_outputs(outputs, out).unwrap();
    });
    parts
}

/// An algorithm whose two engines are compared.
pub trait Subject: OffPolicy {
    fn fused<T: Scalar>(&self) -> Fused<T> {
        Fused::new(self.spec().unwrap())
    }
}

impl<A: OffPolicy> Subject for A {}

/// Random points, with batches of several sizes: smaller than networks, larger, and of one.
pub fn points<T: Element>(
    subject: &impl Subject,
    gain: f64,
    mut visit: impl FnMut(At<T>, &mut Random, String),
) {
    for (seed, size) in [8, 1, 33, 33].into_iter().enumerate() {
        let random = &mut Random(Rng::new(seed as u64, Purpose::Diagnostics));
        let params = [Role::Actor, Role::Critic, Role::Actor, Role::Critic]
            .map(|role| random.params(subject, role, gain));
        let at = At { params, batch: random.batch(size) };
        visit(at, random, format!("{size} samples, seed {seed}"));
    }
}

/// Everything at random points.
pub fn compare_all<T: Element>(
    subject: &impl Subject,
    threads: usize,
    (gain, tolerance): (f64, f64),
    what: &str,
) {
    let mut fused = subject.fused::<T>().with_threads(threads);
    let mut autograd = Autograd::new(subject.clone(), Device::Cpu);
    points(subject, gain, |at: At<T>, random, which| {
        for leader in ROLES {
            let mut fused = fused.freeze(at.point(), leader).unwrap();
            let mut autograd = autograd.freeze(at.point(), leader).unwrap();
            assert_eq!(PLAYERS.map(|p| fused.dim(p)), PLAYERS.map(|p| autograd.dim(p)));
            let along = Along::random(&mut autograd, random);
            let (got, want) = (parts(&mut fused, &along), parts(&mut autograd, &along));
            assert_eq!(got.len(), want.len());
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                let what = format!("{name}, {leader:?} leads, {what}, {which}, {threads} threads");
                // libtorch's softplus is straight beyond 20: its second derivative lacks e^-20.
                let softplus = if name.starts_with("h''") { 1e-8 } else { 0.0 };
                assert_same(got, want, tolerance.max(softplus), &what);
            }
        }
    });
}

/// `||got - truth|| / ||truth||`
pub fn error<T: Scalar>(got: &[T], truth: &[f64]) -> f64 {
    let difference: Vec<f64> = got.iter().zip(truth).map(|(a, b)| a.as_f64() - b).collect();
    flat::norm(&difference) / flat::norm(truth).max(f64::MIN_POSITIVE)
}

/// Where networks are steep, single precision loses digits whoever computes: the fused engine is as near to the truth in
/// double precision as autograd is.
pub fn compare_accuracy(subject: &impl Subject, what: &str) {
    let mut fused = subject.fused::<f32>();
    let mut autograd = Autograd::<f32, _>::new(subject.clone(), Device::Cpu);
    let mut truth = Autograd::<f64, _>::new(subject.clone(), Device::Cpu);
    points(subject, 3.0, |at: At<f32>, random, which| {
        let exact = at.to::<f64>();
        for leader in ROLES {
            let mut autograd = autograd.freeze(at.point(), leader).unwrap();
            let along = Along::random(&mut autograd, random);
            let autograd = parts(&mut autograd, &along);
            let fused = parts(&mut fused.freeze(at.point(), leader).unwrap(), &along);
            let truth = parts(&mut truth.freeze(exact.point(), leader).unwrap(), &along.to());
            for (((name, got), (_, peer)), (_, truth)) in fused.iter().zip(&autograd).zip(&truth) {
                let (own, peer) = (error(got, truth), error(peer, truth));
                let what = format!("{name}, {leader:?} leads, {what}, {which}");
                assert!(own <= 1e-5_f64.max(2.0 * peer), "{what}: {own:e} against {peer:e}");
            }
        }
    });
}

/// Settings with networks of every depth and activation.
pub fn networks() -> Vec<Value> {
    let depths = (0..=3).map(|depth| [9, 7, 6][..depth].to_vec());
    let both = depths.flat_map(|net_arch| ["relu", "tanh"].map(|name| (net_arch.clone(), name)));
    let settings = both.map(
        |(net_arch, name)| json!({"policy_kwargs": {"net_arch": net_arch, "activation_fn": name}}),
    );
    settings.collect()
}
