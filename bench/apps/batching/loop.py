"""The offline loop: one batch after the other, made before, nothing around it.

loop.py rows FILE       the answer to each request of FILE, a list of {name: numbers}, as JSON
loop.py time FILE SIZE SECONDS [SIZE SECONDS]...   of batches of each size: {"SIZE": {"requests", "rps", "cpu_us"}}"""
import json
import sys
import time

import numpy
from session import Session

mode, path, *rest = sys.argv[1:]
model = Session()
rows = numpy.stack([model.row(each) for each in json.load(open(path))])


def timed(size, seconds):
    columns = {name: numpy.ascontiguousarray(numpy.resize(rows[:, i], (size, rows.shape[2])))
               for i, name in enumerate(model.names)}
    model.run_columns(columns)
    begin, cpu, runs = time.perf_counter(), time.process_time(), 0
    while (now := time.perf_counter()) < begin + seconds:
        model.run_columns(columns)
        runs += 1
    return {"requests": runs * size, "rps": runs * size / (now - begin),
            "cpu_us": (time.process_time() - cpu) * 1e6 / (runs * size)}


if mode == "rows":
    # One by one: what a request gets must not depend on those beside it.
    print(json.dumps([model.run(row[None])[0].tolist() for row in rows]))
else:
    print(json.dumps({size: timed(int(size), float(seconds)) for size, seconds in zip(rest[::2], rest[1::2])}))
