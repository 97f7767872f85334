"""``curier metrics``: what Grafana and Prometheus need to watch a broker."""

from __future__ import annotations

import click

from curier.web import observing

EXAMPLES = """\
\b
Examples:
  curier metrics dashboard > curier.json
  curier metrics rules > /etc/prometheus/curier.rules.yml
"""


@click.group(epilog=EXAMPLES)
def metrics() -> None:
    """Write a dashboard, or rules for alerts, to standard output."""


@metrics.command()
def dashboard() -> None:
    """Write a dashboard for Grafana, to be imported there."""
    click.echo(observing.dashboard(), nl=False)


@metrics.command()
def rules() -> None:
    """Write rules for alerts of Prometheus, for a job named curier."""
    click.echo(observing.rules(), nl=False)
