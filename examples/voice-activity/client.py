#!/usr/bin/env python3
"""Says when somebody speaks in a WAV file.

  client.py [FILE [URL]]     16-bit mono at 16 kHz
"""
import array
import http.client
import json
import sys
import urllib.parse
import wave
from pathlib import Path

RATE = 16000
STEP = 512  # samples of a question; the model also wants to see the 64 before
BEFORE = 64
SPEECH = 0.5


def read(path):
    with wave.open(str(path)) as f:
        if (f.getframerate(), f.getnchannels(), f.getsampwidth()) != (RATE, 1, 2):
            sys.exit(f"{path} is not 16-bit mono at {RATE} Hz; make it so: ffmpeg -i IN -ac 1 -ar {RATE} OUT.wav")
        samples = array.array("h", f.readframes(f.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return [s / 32768 for s in samples]


def probabilities(samples, url):
    """How likely each step is speech. The model's memory goes along with each question."""
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=30)
    samples = [0.0] * BEFORE + samples
    state = [[[0.0] * 128], [[0.0] * 128]]
    for at in range(0, len(samples) - BEFORE - STEP + 1, STEP):
        question = {"input": [samples[at : at + BEFORE + STEP]], "state": state, "sr": RATE}
        connection.request("POST", where.path, json.dumps(question), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != 200:
            sys.exit(f"{url} answered {answer.status}: {told['error']['message']}")
        state = told["stateN"]
        yield told["output"][0][0]


def spans(likely):
    """(from, to) in seconds of each stretch of speech."""
    begin = None
    for step, p in enumerate([*likely, 0]):
        if p >= SPEECH and begin is None:
            begin = step
        if p < SPEECH and begin is not None:
            yield begin * STEP / RATE, step * STEP / RATE
            begin = None


def main(path=Path(__file__).parent / "speech.wav", url="http://127.0.0.1:8000/voice-activity"):
    found = [f"{a:.1f} s to {b:.1f} s" for a, b in spans(probabilities(read(path), url))]
    print(f"speech in {Path(path).name}: " + (", ".join(found) or "none"))


if __name__ == "__main__":
    if len(sys.argv) > 3 or "--help" in sys.argv:
        sys.exit(__doc__)
    main(*sys.argv[1:])
