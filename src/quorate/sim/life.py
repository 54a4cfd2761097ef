"""What one simulated life is drawn from; all that it takes to live it again."""

import random

import msgspec


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a whole cluster. Two that are equal are the same, to the last message.

    Attributes:
        seed: decides everything else.
        seconds: virtual ones, for which there is trouble.
        churn: an operator changes the members, servers say who they are, and disks are lost.
        tempo: trouble comes so many times as seldom; clients have more `leisure_us`, and servers
            more `patience` with each other.
        without: kinds of trouble (`faults.KINDS`) that are left out, and clients that do nothing.
            The rest happens as it would with them, as far as it does not depend on them.
    """

    seed: int
    seconds: int = 8
    churn: bool = False
    tempo: int = 1
    without: tuple[str, ...] = ()

    @property
    def patience(self) -> int:
        """So many times as long as usual are the time-outs between servers.

        Most of what a quiet life costs is heartbeats.
        """
        return max(1, self.tempo // 3)

    @property
    def leisure_us(self) -> int:
        """So much longer than usual are the longest pauses that clients make."""
        return 45_000 * (self.tempo - 1)

    @property
    def command(self) -> str:
        """The command that lives it again."""
        words = [f"quorate swarm --first-seed {self.seed} --seconds {self.seconds}"]
        words.append("--churn" if self.churn else "--no-churn")
        words.append(f"--tempo {self.tempo}")
        words += [f'--without "{name}"' for name in self.without]
        return " ".join(words)


def drawn_life(
    seed: int,
    *,
    seconds: int,
    churn: bool | None = None,
    tempo: int | None = None,
    without: tuple[str, ...] = (),
) -> Life:
    """The life of a seed in a swarm; what is not given is drawn from it."""
    rng = random.Random(f"life of {seed}")
    drawn_churn, drawn_tempo = rng.random() < 0.5, rng.choice((12, 18, 24))
    return Life(
        seed=seed,
        seconds=seconds,
        churn=drawn_churn if churn is None else churn,
        tempo=drawn_tempo if tempo is None else tempo,
        without=without,
    )
