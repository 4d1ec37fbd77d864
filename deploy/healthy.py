#!/usr/bin/env python3
"""Whether a service answers at a URL: exit 0, else 1 and a sentence. ``healthy http://127.0.0.1:4200/api/health``."""

import sys
from urllib.request import urlopen

PATIENCE_SECONDS = 5


def main(url: str) -> int:
    """Ask once."""
    try:
        with urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # an error's status raises
            answer.read(1)
    except OSError as error:
        print(f"goms: needed an answer; found {error}; in {url}; look at this service's log", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
