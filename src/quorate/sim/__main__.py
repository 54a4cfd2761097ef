"""Lives the lives of some seeds: `python -m quorate.sim --first-seed 1 --seeds 200`."""

import sys
import time

import click
import msgspec

from quorate.sim.world import SECOND_US, World


@click.command(context_settings={"show_default": True})
@click.option("--seeds", default=1, help="How many lives.")
@click.option("--first-seed", default=1, help="The seed of the first.")
@click.option("--seconds", default=8, help="Virtual seconds of trouble in each life.")
@click.option("--churn", is_flag=True, help="Members come and go, and disks are lost.")
def main(seeds: int, first_seed: int, seconds: int, *, churn: bool) -> None:
    """Runs simulated clusters and prints what happened in each."""
    for seed in range(first_seed, first_seed + seeds):
        begun = time.process_time()
        try:
            report = World(seed, duration_us=seconds * SECOND_US, churn=churn).run()
        except BaseException:
            click.echo(
                f"seed {seed} failed; replay it with: "
                f"python -m quorate.sim --first-seed {seed} --seconds {seconds}"
                f"{' --churn' if churn else ''}",
                err=True,
            )
            raise
        spent = time.process_time() - begun
        click.echo(f"{msgspec.json.encode(report).decode()} {spent:.2f} s")
    sys.exit(0)


main()
