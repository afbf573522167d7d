"""``python -m scripts.deploy``: see ``scripts.deploy.deploy``."""

import sys

from scripts.deploy.deploy import main

if __name__ == "__main__":
    sys.exit(main())
