"""Reads the messages of `cargo test --no-run` and prints the executable of one test target: the
folder of its package, a blank, the executable."""

import json
import os
import sys

for line in sys.stdin:
    message = json.loads(line)
    target = message.get("target", {})
    if message.get("executable") and target["name"] == sys.argv[1] and "test" in target["kind"]:
        print(os.path.dirname(message["manifest_path"]), message["executable"])
