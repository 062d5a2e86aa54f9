"""The claims of the paper's Section 5, and how they are judged (`plan.md`)."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from panels import AC, DDPG, FEWEST, SAC, gains
from stac_bench.report import paired
from stac_bench.report.paired import Difference

# A gain worth knowing, in units of the baseline.
SHARE = 0.1
LEVEL = 0.05
CONFIRMED, NOT_SHOWN, REFUTED, NOT_RUN = "confirmed", "not shown", "refuted", "not run yet"


@dataclass
class Comparison:
    """One difference; `p` is corrected by Holm's method once all comparisons are known."""

    where: str
    what: str
    found: Difference | None
    p: float | None = None


@dataclass(frozen=True)
class Part:
    """What a claim says of one comparison: `above`, `as good` or `as fast`."""

    says: str
    of: Comparison

    @property
    def verdict(self):
        found = self.of.found
        if found is None:
            return NOT_RUN
        if found.low is None or found.high is None:
            return NOT_SHOWN
        certain = self.of.p is not None and self.of.p < LEVEL
        holds, fails = {
            "above": (found.mean > 0 and certain, found.high < SHARE),
            "as good": (found.low > -SHARE, found.mean < 0 and certain),
            "as fast": (found.high < SHARE, found.low > SHARE),
        }[self.says]
        return CONFIRMED if holds else REFUTED if fails else NOT_SHOWN


@dataclass(frozen=True)
class Claim:
    """A sentence that can be false. It holds `in each` part, or `in half` of them."""

    number: str
    words: str
    parts: list[Part]
    holds: str = "in each"

    @property
    def verdict(self):
        count, parts = Counter(part.verdict for part in self.parts), len(self.parts)
        if self.holds == "in half":
            confirmed, refuted = count[CONFIRMED] >= parts / 2, count[REFUTED] > parts / 2
        else:
            confirmed, refuted = count[CONFIRMED] == parts, count[REFUTED] > 0
        if confirmed or refuted:
            return CONFIRMED if confirmed else REFUTED
        return NOT_RUN if count[NOT_RUN] else NOT_SHOWN


@dataclass
class Book:
    """All comparisons that are made, each once, so that Holm's correction knows their number."""

    panels: list
    made: dict = field(default_factory=dict)

    def of(self, family):
        return [panel for panel in self.panels if panel.family is family]

    def pair(self, panel, ours, theirs, measure="scores"):
        """`ours` less `theirs`, paired by seed, in units of the mean of `theirs`."""
        of = getattr(panel, measure)
        differences = gains(of(ours), of(theirs))
        found = paired.difference(differences) if len(differences) else None
        return self._note(panel.title, f"{ours} against {theirs}", measure, found)

    def combined(self, where, what, samples, weights):
        """A weighted sum of independent means; none if one is missing."""
        whole = samples and min(map(len, samples)) >= FEWEST
        found = paired.combined(samples, weights) if whole else None
        return self._note(where, what, "scores", found)

    def _note(self, where, what, measure, found):
        return self.made.setdefault((where, what, measure), Comparison(where, what, found))

    def correct(self):
        """Writes the corrected p of every comparison of returns: times are not tested."""
        tested = [
            one
            for (*_, measure), one in self.made.items()
            if measure != "seconds" and one.found and one.found.p is not None
        ]
        for one, p in zip(tested, paired.holm([one.found.p for one in tested]), strict=True):
            one.p = p


def primary(panels):
    """The term on against off, pooled; over the families that are complete, or else so far."""
    found = {panel: _term(panel) for panel in panels}
    whole = [
        panel
        for panel in panels
        if all(
            len(found[other]) >= panel.family.seeds
            for other in panels
            if other.family is panel.family
        )
    ]
    pooled = whole or [panel for panel in panels if len(found[panel])]
    if not pooled:
        return None, [], False
    samples = [found[panel] for panel in pooled]
    return paired.combined(samples, _mean(samples)), pooled, bool(whole)


def claims(book):
    """All of them, with p values that are corrected for all comparisons of `book`."""
    ac, ddpg, sac = map(book.of, (AC, DDPG, SAC))
    leads = [(panel, panel.family.actor_leads, panel.family.off) for panel in book.panels]
    many = [(panel, "stac-m=80", "ac-m=80") for panel in ac]
    critic = [(panel, panel.family.critic_leads, panel.family.off) for panel in ddpg + sac]

    def parts(says, these, measure="scores"):
        return [Part(says, book.pair(*one, measure)) for one in these]

    def best(panel):
        return [(panel, "stac-m=80", other) for other in ("stac-m=1", "ac-m=80", "ac-m=1")]

    with_80, with_1 = [gains_of(one) for one in many], [_term(panel) for panel in ac]
    both = [
        more - less for more, less in zip(with_80, with_1, strict=True) if len(more) == len(less)
    ]
    unroll = book.combined(
        *("(a) to (d)", "gain with m = 80 against gain with m = 1"),
        *(both if len(both) == len(ac) else [], _mean(both)),
    )
    terms = [_term(panel) for panel in ddpg], [_term(panel) for panel in sac]
    more = book.combined(
        *("(e) to (l)", "gain of stddpg-al against gain of stsac-al"),
        *([*terms[0], *terms[1]], [*_mean(terms[0]), *(-weight for weight in _mean(terms[1]))]),
    )
    sac_ddpg = [_unpaired(book, *both) for both in zip(sac[2:], ddpg[2:], strict=True)]
    found = [
        Claim("1", "Stackelberg forms are never worse", parts("as good", leads + many + critic)),
        Claim("2", "they are often clearly better", parts("above", leads), "in half"),
        Claim("3", "they cost little more time", parts("as fast", leads + critic, "seconds")),
        Claim(
            *("4", "STAC with 80 critic steps is the best of the four"),
            parts("above", [one for panel in ac for one in best(panel)]),
        ),
        Claim(
            *("5", "since the critic is nearer to its best response: the gain grows with m"),
            [Part("above", unroll)],
        ),
        Claim(
            *("6", "in CartPole one critic step of STAC beats 80 of AC"),
            parts("above", [(ac[0], "stac-m=1", "ac-m=80")]),
        ),
        Claim("7", "DDPG gains in each task if the actor leads", parts("above", leads[4:8])),
        Claim("8", "and if the critic does, except in Walker2d", parts("above", critic[:3])),
        Claim("9", "no form is worse where the actor leads", parts("as good", leads + many)),
        Claim(
            *("10", "SAC is clearly better than DDPG"),
            [Part("above", one) for one in sac_ddpg],
        ),
        Claim("11", "leading helps DDPG more than SAC", [Part("above", more)]),
        Claim(
            *("12", "an actor that leads beats a critic that leads"),
            parts("above", [(panel, lead, form) for (panel, form, _), lead in _actors(critic)]),
        ),
        Claim(
            *("13", "the critic is the better conditioned follower"),
            parts(
                "above", [(p, lead, form) for (p, form, _), lead in _actors(critic)], "conditioning"
            ),
        ),
    ]
    return found


def gains_of(one):
    """The gains of a panel's runs over others."""
    panel, ours, theirs = one
    return gains(panel.scores(ours), panel.scores(theirs))


def controls(book):
    """Comparisons of the form with each of its controls, and of those with the baseline."""
    names = ["ddpg-step-matched", "ddpg-noise-matched", "ddpg-compute-matched"]
    halfcheetah, _, hopper, _ = book.of(DDPG)
    matched = [
        book.pair(panel, *both)
        for panel in (halfcheetah, hopper)
        for name in names
        for both in ((DDPG.actor_leads, name), (name, DDPG.off))
    ]
    return matched + [
        book.pair(panel, f"stac-m={m}", f"ac-m={m}-matched")
        for panel in book.of(AC)
        for m in (1, 80)
    ]


def _actors(critic):
    return [(one, one[0].family.actor_leads) for one in critic]


def _term(panel):
    return gains_of((panel, panel.family.actor_leads, panel.family.off))


def _mean(samples):
    return [1 / len(samples)] * len(samples)


def _unpaired(book, sac, ddpg):
    """SAC less DDPG, in units of DDPG, of runs that are no pairs."""
    ours, theirs = sac.scores("sac"), ddpg.scores("ddpg")
    unit = abs(theirs.mean())
    samples = [(scores / unit).to_numpy(np.float64) for scores in (ours, theirs)]
    return book.combined(f"{ddpg.title}, {sac.title}", "sac against ddpg", samples, [1, -1])
