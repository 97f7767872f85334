"""``curier completion``: what has a shell complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from curier.cli import main

SHELLS = ("bash", "zsh", "fish")

EXAMPLES = """\
\b
Examples:
  curier completion bash > ~/.local/share/bash-completion/completions/curier
  curier completion zsh > ~/.zfunc/_curier
  curier completion fish > ~/.config/fish/completions/curier.fish

\b
zsh looks there if ~/.zshrc says, before compinit:
  fpath+=~/.zfunc
"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Write what SHELL needs to complete curier: its commands, options, and files where files are meant.

    Packages of a system have it in its place already. The directories may have to be made.
    """
    click.echo(script(shell))


def script(shell: str) -> str:
    """Functions of a shell that ask ``curier`` itself how a line may go on."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    made = kind(main, {}, "curier", "_CURIER_COMPLETE")
    # What click's own `source` does, but that it runs the shell to see its version.
    return made.source_template % made.source_vars()
