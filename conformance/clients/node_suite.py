"""Every exported call of node-zookeeper-client, a client in plain JavaScript, against Apache's server and ours.

Usage: node_suite.py --apache 3.9.5=JARS --binary ZABKEEPER --cache FOLDER [--only WORD] [--json FILE]
The calls are those that stand in the prototypes of its client and its transactions; one without a case fails by name.
Ends with 0 if all is well, 1 if a call does something else on ours without a reason in skips.toml, 2 if one fails on
Apache. Needs node and npm; the package is put into the cache, once.
"""

import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import stock

PACKAGE, VERSION = "node-zookeeper-client", "1.1.3"
# What it needs, which it does not pin by itself.
NEEDS = ["async@3.2.6", "underscore@1.13.8"]


def package(cache):
    """The folder with the package; made once."""
    home = os.path.join(os.path.abspath(cache), f"{PACKAGE}-{VERSION}")
    if not os.path.isdir(home):
        os.makedirs(cache, exist_ok=True)
        fresh = tempfile.mkdtemp(dir=cache)
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", "--prefix", fresh]
        subprocess.run([*install, f"{PACKAGE}@{VERSION}", *NEEDS], check=True)
        # In place only once it is whole.
        os.rename(fresh, home)
    return os.path.join(home, "node_modules", PACKAGE)


def main():
    args = stock.arguments(__doc__, cache="where the package is kept; else .cache")
    cache = args.cache[-1] if args.cache else ".cache"
    words = [args.only] if args.only else []
    return stock.judge("node-client", f"{PACKAGE} {VERSION}", args, lambda args, folder: ["node", os.path.join(stock.HERE, "node", "cases.js"), package(cache), *words])


if __name__ == "__main__":
    sys.exit(main())
