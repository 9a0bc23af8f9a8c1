"""The offline loop: batches made before, one after the other, and nothing else.

loop.py BODIES.json reads a line for each question and answers with one of JSON:

rows            the answer to each request
SECONDS SIZE    rows per second in batches of so many
first SIZE      seconds of a batch of so many, and of the next such
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


def seconds_of_two(encoder, rows, size):
    batch, times = [rows[i % len(rows)] for i in range(size)], [time.perf_counter()]
    for _ in range(2):
        encoder.run(batch)
        times.append(time.perf_counter())
    return [end - begin for begin, end in zip(times, times[1:])]


def main():
    with open(sys.argv[1]) as file:
        bodies = [json.loads(body) for body in json.load(file)]
    encoder = Encoder()
    rows = [encoder.row(body["ids"]) for body in bodies]
    for line in sys.stdin:
        what, *size = line.split()
        if what == "rows":
            told = [encoder.run([row])[0] for row in rows]
        elif what == "first":
            told = seconds_of_two(encoder, rows, int(*size))
        else:
            told = rows_per_second(encoder, rows, float(what), int(*size))
        print(json.dumps(told), flush=True)


main()
