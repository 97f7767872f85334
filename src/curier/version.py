"""Which curier this is; what is built of it says the same."""

from typing import Final

VERSION: Final = "0.1.0"
