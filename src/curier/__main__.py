"""``python -m curier``: the command line."""

from curier.cli import main

if __name__ == "__main__":
    main(prog_name="python -m curier")
