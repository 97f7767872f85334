"""Kills a broker under load as often as you like: ``python -m tests.crash --rounds 300 --seed 1``.

With ``--clients``, programs that have their sessions on disk are killed as well; with ``--cluster``, nodes
of a cluster and their servers of NATS are killed and stopped; with ``--workers``, workers of one machine.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from curier.verify.play import Play
from tests.crash.client_rounds import ClientRounds
from tests.crash.cluster_rounds import NAMES, ClusterRounds, Roaming
from tests.crash.cuts import enter
from tests.crash.rounds import Rounds
from tests.crash.worker_rounds import WorkerRounds


@click.command()
@click.option("--rounds", default=200, show_default=True, help="How often something is killed.")
@click.option("--seed", type=int, help="Repeats the choices of a run, though not its timing.")
@click.option("--clients", is_flag=True, help="Kill clients with sessions on disk, and the broker.")
@click.option("--cluster", is_flag=True, help="Kill and stop nodes of a cluster, and servers of NATS.")
@click.option("--workers", is_flag=True, help="Kill and stop workers of one machine (Linux).")
@click.option("--cuts", is_flag=True, help="Cut nodes off as well, in a network namespace (Linux).")
@click.option("--kinds", default="", help="Of a cluster's misfortunes these alone: 'full one 10,part all 5'.")
def main(
    rounds: int, seed: int | None, clients: bool, cluster: bool, workers: bool, cuts: bool, kinds: str
) -> None:
    """Kill broker and store under load, and see whether every promise is kept."""
    if cuts:
        enter()
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}, {rounds} rounds")
    began = time.monotonic()

    told = 0

    def tell(play: Play) -> None:
        nonlocal told
        if sys.stdout.isatty():
            click.echo(f"\r{play}\x1b[K", nl=False)
        elif play.round >= told + 20:
            told = play.round
            click.echo(play)

    if clients:
        kill_clients(seed, rounds, began)
        return
    if cluster:
        kill_cluster(seed, rounds, began, tell, cuts, kinds)
        return
    if workers:
        kill_workers(seed, rounds, began, tell)
        return

    with tempfile.TemporaryDirectory() as name:
        play = Rounds(seed, rounds, Path(name), tell)
        try:
            asyncio.run(play.play())
        except AssertionError as error:
            kept = Path(f"crash-{seed}.log")
            kept.write_text((Path(name) / "broker.log").read_text())
            click.echo(f"\nround {play.round}: {error}\nthe log of the broker is in {kept}")
            sys.exit(1)
    seconds = time.monotonic() - began
    killed = sum(count for whom, count in play.counts.items() if whom != "stop")
    click.echo(
        f"\n{rounds} rounds, {killed} kills, {play.counts['stop']} restarts in {seconds:.0f} s: "
        f"{play.promised} messages acknowledged, lost 0, doubled 0, out of order 0"
    )


def kill_clients(seed: int, rounds: int, began: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        play = ClientRounds(seed, Path(name), click.echo)
        try:
            asyncio.run(play.run(rounds))
        except AssertionError as error:
            click.echo(f"round {play.round}: {error}")
            sys.exit(1)
        click.echo(
            f"{rounds} rounds, {play.kills} kills in {time.monotonic() - began:.0f} s: "
            f"{len(play.accepted)} messages accepted, lost 0, doubled 0, out of order 0"
        )


def kill_cluster(
    seed: int, rounds: int, began: float, tell: Callable[[Play], None], cuts: bool, kinds: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        play = ClusterRounds(seed, rounds, Path(name), tell, cuts, tuple(filter(None, kinds.split(","))))
        try:
            asyncio.run(play.play())
        except AssertionError as error:
            kept = [Path(f"crash-{seed}-{node}.log") for node in NAMES]
            for node, copy in zip(NAMES, kept, strict=True):
                copy.write_text(play.own.log(node).read_text())
            click.echo(
                f"\nround {play.round}: {error}\nthe logs of the nodes are in {', '.join(map(str, kept))}"
            )
            sys.exit(1)
        tell_end(play, began)


def kill_workers(seed: int, rounds: int, began: float, tell: Callable[[Play], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        play = WorkerRounds(seed, rounds, Path(name), tell)
        try:
            asyncio.run(play.play())
        except AssertionError as error:
            kept = Path(f"crash-{seed}-workers.log")
            kept.write_text(play.logs())
            click.echo(f"\nround {play.round}: {error}\nthe log of the workers is in {kept}")
            sys.exit(1)
        tell_end(play, began)


def tell_end(play: Roaming, began: float) -> None:
    done = ", ".join(f"{kind} {count}" for kind, count in sorted(play.counts.items()))
    click.echo(
        f"\n{play.plan.rounds} rounds ({done}) in {time.monotonic() - began:.0f} s: {play.promised} messages "
        f"acknowledged, lost 0, doubled 0, out of order 0\n{play.timed}, none before its time or after it"
    )
    for note in play.notes:
        click.echo(note)


if __name__ == "__main__":
    main()
