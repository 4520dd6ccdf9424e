"""A stand-in for OpenEye's client, for tests: its module and class names over our own client.

Its profiles lie in `~/.standin/profiles.json`. What it is to do wrong stands in `~/.standin/faults.json`,
by the name of the call, and is read before every one: "hang", "crash", "retry" (for an hour), "print",
"garbage"; for `File.download_to_file` also "preallocate" (what is written comes out of order), "stall" (the
same, and it never returns), "short" and "long". "import": "hang" hangs at once.
"""

from .faults import misbehave

__version__ = "6.8.0-standin"

misbehave("import")
