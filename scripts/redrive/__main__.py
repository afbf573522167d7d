"""``python -m scripts.redrive``: see ``scripts.redrive.run``."""

import sys

from scripts.redrive.run import main

if __name__ == "__main__":
    sys.exit(main())
