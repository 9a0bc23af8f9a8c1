#!/usr/bin/env python3
"""Says what files are, by their content.

  client.py [--url URL] [FILE...]     this folder's files by default
"""
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
BLOCK = 4096  # of either end of a file is looked at, without white space ...
SIZE = 1024   # ... and so many bytes of it are what the model sees
NOTHING = 256


def features(content):
    """The first and the last bytes, filled up with NOTHING."""
    begin, end = content[:BLOCK].lstrip(), content[-BLOCK:].rstrip()
    if len(content) <= BLOCK:
        begin, end = begin.rstrip(), end.lstrip()
    begin, end = list(begin[:SIZE]), list(end[-SIZE:])
    return begin + [NOTHING] * (SIZE - len(begin)) + [NOTHING] * (SIZE - len(end)) + end


def ask(files, url):
    """The scores of all files, in one question."""
    body = json.dumps({"bytes": [features(f.read_bytes()) for f in files]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["target_label"]
    except urllib.error.HTTPError as e:
        sys.exit(f"{url} answered {e.code}: {json.load(e)['error']['message']}")


def main(arguments):
    url = "http://127.0.0.1:8000/file-type"
    if arguments[:1] == ["--url"]:
        url, arguments = arguments[1], arguments[2:]
    files = [Path(a) for a in arguments] or [HERE / "client.py", HERE / "soma.yaml", HERE / "README.md", HERE / "../voice-activity/speech.wav"]
    names = json.loads((HERE / "labels.json").read_text())["target_labels_space"]
    told = []
    for file, scores in zip(files, ask(files, url)):
        best = max(range(len(scores)), key=scores.__getitem__)
        told.append(f"{file.name} is {names[best]} ({scores[best]:.2f})")
    print(", ".join(told))


if __name__ == "__main__":
    if "--help" in sys.argv:
        sys.exit(__doc__)
    main(sys.argv[1:])
