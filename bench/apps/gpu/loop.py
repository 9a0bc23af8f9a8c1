"""The offline loop: batches made before, one after the other, and nothing else.

loop.py BODIES.json reads a line for each question and answers with one of JSON:

rows            the answer to each request
SECONDS SIZE    rows per second in batches of so many
"""
import json
import sys
import time

from encoder import Encoder


def rows_per_second(encoder, rows, seconds, size):
    batch = [rows[i % len(rows)] for i in range(size)]
    encoder.run(batch)
    begin, runs = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        encoder.run(batch)
        runs += 1
    return runs * size / (time.perf_counter() - begin)


def main():
    with open(sys.argv[1]) as file:
        bodies = [json.loads(body) for body in json.load(file)]
    encoder = Encoder()
    rows = [encoder.row(body["ids"]) for body in bodies]
    for line in sys.stdin:
        if line.strip() == "rows":
            told = [encoder.run([row])[0] for row in rows]
        else:
            seconds, size = line.split()
            told = rows_per_second(encoder, rows, float(seconds), int(size))
        print(json.dumps(told), flush=True)


main()
