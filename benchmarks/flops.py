"""Floating-point operations that the matrix products of one update need, from the networks' shapes.

A layer of n_in inputs and n_out outputs on a batch of B rows makes three products of 2 B n_in n_out
operations: outputs Z = X W', gradients of the weights D' X, gradients of the inputs D W. Nothing is
counted that an update can do without: no gradient of observations, no weight gradient of a critic
that only passes the actor's gradient on, one half of a symmetric Gram matrix, one of the twin
critics per row where only the smaller is differentiated. Element-wise work, Adam and Polyak
averaging are not products and count nothing, so the floor is below what any program needs.

For ReLU networks: their second derivatives vanish between kinks, so a Hessian has no term from
activations.
"""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Shapes:
    """Of one problem."""

    obs: int
    actions: int
    hidden: tuple[int, ...] = (256, 256)
    batch: int = 100


WALKER = Shapes(obs=17, actions=6)


@dataclass(frozen=True)
class Net:
    """Operations of the passes through one network of these layer widths, on `batch` rows."""

    widths: tuple[int, ...]
    batch: int
    actions: int = 0
    """How many inputs are actions (a critic's last ones)."""

    @property
    def layers(self):
        return [2 * self.batch * n * m for n, m in pairwise(self.widths)]

    @property
    def forward(self):
        """Outputs, or gradients of all weights from the layers' output gradients."""
        return sum(self.layers)

    weights = forward

    @property
    def hidden(self):
        """Gradients of the hidden units, or tangents through them: all layers but the first."""
        return sum(self.layers[1:])

    @property
    def to_actions(self):
        """The actions' gradient from the outputs', or the outputs' tangent from the actions'."""
        return self.hidden + 2 * self.batch * self.actions * self.widths[1]

    @property
    def hvp(self):
        """Full Hessian times V by the R-operator, gradients' forward and backward pass at hand.

        Rz = V a + W Ra;  Rd = V' d' + W' Rd';  out = Rd' a + d' Ra.  The first layer's inputs have
        neither tangent nor gradient, so only V a and Rd' a are left of it.
        """
        return 2 * self.forward + 4 * self.hidden

    @property
    def scalar_hvp(self):
        """The same for one output of weights w, the first time and every time.

        The last hidden layer's d = r m o w is a mask with scaled rows and columns, so that
        d' Ra + Rd' a = w o m' (r Ra + Rr a) + v o m' (r a)  and
        d V + Rd W = r m (w o V + v o W) + Rr m (w o W):  the last products of both sums stay the
        same from V to V, and the second of them is part of the gradient's backward pass.
        """
        every = self.hvp - 2 * (self.layers[-2] + self.layers[-1])
        return self.layers[-2], every

    @property
    def gram(self):
        """J1 J2' of two Jacobians: sum_l (A1 A2' + 1) o (D1 D2'), full B x B products."""
        return sum(2 * self.batch**2 * (n + m) for n, m in pairwise(self.widths))

    @property
    def gram_times_vector(self):
        """J1 J2' u, layer by layer, through the product above or through the gradient
        V = (u o D2)' A2, A1 V', whichever is cheaper."""
        shapes = pairwise(self.widths)
        return sum(min(2 * self.batch**2 * (n + m), 4 * self.batch * n * m) for n, m in shapes)


class Update:
    """Operations of one update: `twins` critics, `heads` outputs of the actor per action."""

    def __init__(self, shapes, twins, heads):
        widths = (*shapes.hidden,)
        self.batch, self.twins = shapes.batch, twins
        self.actor = Net((shapes.obs, *widths, heads * shapes.actions), shapes.batch)
        self.critic = Net(
            (shapes.obs + shapes.actions, *widths, 1), shapes.batch, actions=shapes.actions
        )

    @property
    def actor_backward(self):
        return self.actor.weights + self.actor.hidden

    @property
    def critic_step(self):
        """Towards y(s', mu(s'))."""
        targets = self.actor.forward + self.twins * self.critic.forward
        return targets + self.twins * (
            self.critic.forward + self.critic.weights + self.critic.hidden
        )

    def actor_step(self, critics):
        """Through the smallest of so many critics."""
        policy = self.actor.forward + critics * self.critic.forward
        return policy + self.critic.to_actions + self.actor_backward

    def baseline(self):
        return self.critic_step + self.actor_step(self.twins)

    def delayed(self):
        """TD3: the actor steps through the first critic, at every second update."""
        return self.critic_step + self.actor_step(1) // 2

    @property
    def through_targets(self):
        """sum_i u_i D_theta y_i: back through the (smaller) target critic and the actor."""
        return self.critic.to_actions + self.actor_backward

    def woodbury(self):
        """The actor leads, Gauss-Newton: half of K = J J' and a Cholesky factor per critic,
        J D2 f1 = J J~' u of the smaller critic per row, the pass through y."""
        k = self.twins * self.critic.gram * (self.batch + 1) // (2 * self.batch)
        factors = self.twins * self.batch**3 // 3
        return k + factors + self.critic.gram_times_vector + self.through_targets

    def actor_leads_cg(self, iterations):
        """The actor leads, full Hessian of the critics' loss: D2 f1 (weight gradients of the
        smaller critic at mu(s)), a Hessian product per iteration and u = J x of each critic, the
        pass through y."""
        once, every = self.critic.scalar_hvp
        hessian = self.twins * (once + iterations * every)
        return (
            self.critic.weights + hessian + self.twins * self.critic.forward + self.through_targets
        )

    def critic_leads_cg(self, iterations):
        """The critic leads, full Hessian of -J: Q is linear in the actions between kinks, so that
        a product stays in the actor's network. D2 f1 is the pass through y; D12 f2 x the weights'
        gradient of Q's derivative along the tangent J_mu x of the actions: forward, then d Ra."""
        hessian = iterations * self.actor.hvp
        tangent = self.actor.forward + self.actor.hidden + self.critic.to_actions
        return self.through_targets + hessian + tangent + self.critic.to_actions

    def critic_leads_woodbury(self):
        """The critic leads, Gauss-Newton in the actor's outputs, r = B m rows (those that cannot
        matter count too): D2 f1 is the pass through y, J g a tangent pass of the actor; the
        unit derivatives D_ik of the hidden layers, one half of K = J J', where the last layer's
        D_ik . D_jl is the identity, a Cholesky factor, K times a vector; D12 f2 x the derivative
        of Q along u, forward and back, without the actor."""
        b, (obs, *hidden, rows) = self.batch, self.actor.widths
        rows *= b
        tangent = self.actor.forward + self.actor.hidden
        derivatives = sum(2 * rows * n * m for n, m in pairwise(hidden))
        k = b * (b + 1) * sum((obs, *hidden)) + rows * (rows + 1) * sum(hidden)
        system = rows**3 // 3 + 2 * rows**2
        cross = 2 * self.critic.to_actions
        return self.through_targets + tangent + derivatives + k + system + cross


def operations(algo, solver=None, iterations=10, shapes=WALKER):
    """Of one update of this algorithm with this solver: `woodbury` or `cg`."""
    twins = 1 if "ddpg" in algo else 2
    update = Update(shapes, twins, heads=2 if "sac" in algo else 1)
    if algo == "td3":
        return update.delayed()
    if algo in ("ddpg", "sac"):
        return update.baseline()
    if algo.endswith("-al") and solver == "woodbury":
        return update.baseline() + update.woodbury()
    if algo.endswith("-al") and solver == "cg":
        return update.baseline() + update.actor_leads_cg(iterations)
    if algo == "stddpg-cl" and solver == "woodbury":
        return update.baseline() + update.critic_leads_woodbury()
    if algo.endswith("-cl") and solver == "cg":
        return update.baseline() + update.critic_leads_cg(iterations)
    raise ValueError(f"no formula for {algo} with {solver}")
