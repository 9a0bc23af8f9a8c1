"""Batches: each caller gets its own rows, whatever is around it."""
import json
import os
import pathlib
import random
import re
import subprocess
import threading
import time

import pytest
from harness import READY
from loops import closed_loop, last_told
from test_life import later

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCHES = {"max_batch_size": 8, "batch_interval_ms": 50}

# Doubles the rows of x, and says in `n` how many rows ran together. A negative number fails the run; SHORT leaves out a
# row where there are several.
ENGINE = """#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "soma_engine.h"
struct soma_model { struct soma_tensor out[2]; double *y; int64_t *n; };
static const struct soma_port ins[] = {{.name = "x", .dtype = SOMA_FLOAT64, .rank = 2, .shape = {-1, -1}},
                                       {.name = "scale", .dtype = SOMA_FLOAT64, .optional = 1}};
static const struct soma_ports ports = {.inputs = ins, .n_inputs = 2};
static const struct soma_ports *get(const struct soma_model *m) { (void)m; return &ports; }
static int load(const struct soma_params *params, struct soma_model **ret, struct soma_error *error)
{
    (void)params, (void)error;
    *ret = calloc(params->slots, sizeof **ret);
    return SOMA_OK;
}
static void unload(struct soma_model *m) { free(m); }
static int run(struct soma_model *all, uint32_t slot, const struct soma_request *in, struct soma_response *out, struct soma_error *error)
{
    struct soma_model *m = &all[slot];
    const struct soma_tensor *t = &in->inputs[0];
    double scale = in->n_inputs > 1 ? *(const double *)in->inputs[1].data : 2;
    struct timespec wait = {0, DELAY_MS * 1000000};
    const double *x = t->data;
    int64_t rows = t->shape[0];
    nanosleep(&wait, NULL);
    for (size_t i = 0; i < t->count; i++)
        if (x[i] < 0) {
            snprintf(error->text, sizeof error->text, "x has %g", x[i]);
            return SOMA_BAD_INPUT;
        }
    m->y = realloc(m->y, (t->count + 1) * sizeof *m->y);
    m->n = realloc(m->n, (size_t)rows * sizeof *m->n);
    for (size_t i = 0; i < t->count; i++)
        m->y[i] = x[i] * scale;
    for (int64_t i = 0; i < rows; i++)
        m->n[i] = rows;
    m->out[0] = *t;
    m->out[0].name = "y";
    m->out[0].data = m->y;
    m->out[1] = (struct soma_tensor){.name = "n", .dtype = SOMA_INT64, .rank = 1, .shape = {rows}, .count = (size_t)rows, .data = m->n};
    if (SHORT && rows > 1) {
        m->out[1].shape[0]--;
        m->out[1].count--;
    }
    out->outputs = m->out;
    out->n_outputs = 2;
    return SOMA_OK;
}
SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
    .abi = SOMA_ENGINE_ABI, .size = sizeof(struct soma_engine), .name = "rows", .load = load, .unload = unload, .ports = get, .run = run};
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "rows.c").write_text(ENGINE)

    def rows(delay_ms=0, short=0):
        path = folder / f"rows-{delay_ms}-{short}.so"
        if not path.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-DDELAY_MS={delay_ms}", f"-DSHORT={short}",
                            "-I", ROOT / "include", "-o", path, folder / "rows.c"], check=True)
        return {"files": {"rows.so": path.read_bytes()}, "engine": "rows.so", **BATCHES}

    return rows


def cpu_seconds(host):
    fields = pathlib.Path(f"/proc/{host.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answer(x, scale=2):
    return [[v * scale for v in row] for row in x]


def test_what_waits_runs_in_one_go(serve, rows):
    h = serve(**rows(delay_ms=900))
    first = later(h, {"x": [[0]]})
    time.sleep(0.1)
    rest = [later(h, {"x": [[i]] * (1 + i % 3)}) for i in range(1, 9)]
    assert first().json() == {"y": [[0]], "n": [1]}
    got = [r().json() for r in rest]
    assert [g["y"] for g in got] == [[[2 * i]] * (1 + i % 3) for i in range(1, 9)]
    assert {n for g in got for n in g["n"]} == {sum(1 + i % 3 for i in range(1, 9))}


def test_no_more_than_the_most(serve, rows):
    h = serve(**{**rows(delay_ms=150), "max_batch_size": 3})
    first = later(h, {"x": [[0]]})
    time.sleep(0.05)
    got = [r().json()["n"] for r in [later(h, {"x": [[i]]}) for i in range(7)]]
    assert first().status == 200
    assert sorted(n for g in got for n in g) == [1, 3, 3, 3, 3, 3, 3]


def test_one_client_waits_for_nobody(serve, rows):
    h = serve(**{**rows(), "batch_interval_ms": 5000})
    start = time.monotonic()
    for i in range(20):
        assert h.predict({"x": [[i]]}).json() == {"y": [[2 * i]], "n": [1]}
    assert time.monotonic() - start < 4


def test_a_body_on_its_way_is_waited_for(serve, rows):
    h = serve(**{**rows(), "batch_interval_ms": 3000})
    slow = h.connect(timeout=30)
    slow.putrequest("POST", "/")
    slow.putheader("Content-Length", "11")
    slow.endheaders()
    time.sleep(0.1)
    early = later(h, {"x": [[1]]})
    time.sleep(0.2)
    assert h.ping() < 1
    slow.send(b'{"x":[[2]]}')
    assert json.loads(slow.getresponse().read()) == {"y": [[4]], "n": [2]}
    assert early().json() == {"y": [[2]], "n": [2]}


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_not_waited_for_longer_than_the_interval(serve, rows, threads):
    h = serve(**{**rows(), "batch_interval_ms": 400, "threads": threads})
    slow = h.connect()
    slow.putrequest("POST", "/")
    slow.putheader("Content-Length", "11")
    slow.endheaders()
    time.sleep(0.1)
    before, cpu = time.monotonic(), cpu_seconds(h)
    assert h.predict({"x": [[1]]}).json() == {"y": [[2]], "n": [1]}
    assert 0.35 < time.monotonic() - before < 3
    assert cpu_seconds(h) - cpu < 0.1
    # Nobody waits for one that goes.
    slow.close()
    time.sleep(0.1)
    before = time.monotonic()
    assert h.predict({"x": [[1]]}).status == 200
    assert time.monotonic() - before < 0.3


def test_shapes_and_scalars_that_differ_run_apart(serve, rows):
    h = serve(**rows(delay_ms=100))
    first = later(h, {"x": [[0]]})
    time.sleep(0.05)
    inputs = [{"x": [[1, 2]]}, {"x": [[1]]}, {"x": [[3, 4]]}, {"x": [[5]], "scale": 3}, {"x": [[6]], "scale": 3}, {"x": [[7]], "scale": 4}]
    got = [r().json() for r in [later(h, i) for i in inputs]]
    assert first().status == 200
    assert [g["y"] for g in got] == [answer(i["x"], i.get("scale", 2)) for i in inputs]
    assert [g["n"][0] for g in got] == [2, 1, 2, 2, 2, 1]


def test_one_that_fails_fails_alone(serve, rows):
    h = serve(**rows(delay_ms=100))
    first = later(h, {"x": [[0]]})
    time.sleep(0.05)
    rest = [later(h, {"x": [[-i if i == 3 else i]]}) for i in range(1, 6)]
    got = [r() for r in rest]
    assert first().status == 200
    assert [g.status for g in got] == [200, 200, 400, 200, 200]
    assert got[2].error["message"] == "x has -3"
    assert [g.json()["y"] for g in got if g.status == 200] == [[[2]], [[4]], [[8]], [[10]]]


def test_a_bad_one_is_refused_before_it_joins(serve, rows):
    h = serve(**rows(delay_ms=200))
    first = later(h, {"x": [[0]]})
    time.sleep(0.1)
    good = [later(h, {"x": [[i]]}) for i in range(2)]
    before = time.monotonic()
    assert h.predict({"x": [["a"]]}).status == 400
    assert time.monotonic() - before < 0.15
    assert [g().json()["n"] for g in good] == [[2], [2]]
    assert first().status == 200


def test_those_whose_clients_went_leave_the_batch(serve, rows):
    h = serve(**rows(delay_ms=200))
    first = later(h, {"x": [[0]]})
    time.sleep(0.05)
    stays = later(h, {"x": [[1]]})
    for _ in range(4):
        c = h.connect()
        c.request("POST", "/", b'{"x":[[9]]}')
        c.close()
    assert stays().json() == {"y": [[2]], "n": [1]}
    assert first().status == 200


def test_outputs_without_a_row_for_each(serve, rows):
    h = serve(**rows(delay_ms=100, short=1))
    first = later(h, {"x": [[0]]})
    time.sleep(0.05)
    rest = [later(h, {"x": [[i]]}) for i in range(1, 4)]
    assert [r().json() for r in rest] == [{"y": [[2 * i]], "n": [1]} for i in range(1, 4)]
    assert first().status == 200
    note = json.loads(h.expect(READY)[2])["note"]
    assert note == "predictor.server_side_batching: the output 'n' has 2 rows where the inputs have 3; requests are run one by one from now on"
    h.close()
    assert "predictor.server_side_batching: the output 'n' has 2 rows where the inputs have 3; requests are run one by one from now on" in h.log


def test_with_batching_auto_the_message_names_that(start):
    failed = start(engine_options={"inputs": "x:float32"}, max_batch_size=8, latency_target_ms=100).failed()
    assert failed["message"].startswith("predictor.batching: no input of the model")


@pytest.mark.parametrize("inputs, told", [
    ("x:float32[1,3]", "the first dimension of the input 'x' is always 1, so that requests cannot be joined along it; "
                       "export the model with a first dimension of any size, or remove the key"),
    ("x:float32", "no input of the model has a dimension along which requests could be joined; remove the key"),
    ("x:float32[-1] flag:bool", "the output 'flag' is a single value for all rows, so that there is none for each request; remove the key"),
])
def test_models_that_cannot_be_batched_are_refused(start, inputs, told):
    failed = start(engine_options={"inputs": inputs}, **BATCHES).failed()
    assert failed["code"] == "bad_model"
    assert failed["message"] == f"predictor.server_side_batching: {told}"


def test_inputs_that_have_no_rows_in_common_run_alone(serve):
    h = serve(engine_options={"delay_ms": 100}, **BATCHES)
    first = later(h, {"x": [1]})
    time.sleep(0.05)
    values = [{"x": [1, 2], "y": [1]}, {"x": [3, 4], "y": [5]}, {"x": 1}, {"x": ["a", "bc"], "y": [True, False]}, {"x": ["d"], "y": [True]}]
    got = [r().json() for r in [later(h, v) for v in values]]
    assert got == values
    assert first().json() == {"x": [1]}


def test_a_batch_that_takes_too_long(serve):
    h = serve(predict_timeout_ms=300, engine_options={"delay_ms": 5000}, **BATCHES)
    first = later(h, {"x": [0]})
    time.sleep(0.05)
    rest = [later(h, {"x": [i]}) for i in range(4)]
    before = time.monotonic()
    assert first().status == 504
    assert [r().status for r in rest] == [504] * 4
    assert time.monotonic() - before < 3


def test_a_batch_that_nobody_waits_for_is_stopped(serve):
    h = serve(engine_options={"delay_ms": 600}, **BATCHES)
    first = later(h, {"x": [0]})
    time.sleep(0.1)
    clients = [h.connect() for _ in range(3)]
    for c in clients:
        c.request("POST", "/", b'{"x":[1]}')
    assert first().status == 200
    time.sleep(0.1)
    start = time.monotonic()
    for c in clients:
        c.close()
    assert h.predict({"x": [2]}).json() == {"x": [2]}
    assert time.monotonic() - start < 1.1


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("delay_ms", [0, 2])
@pytest.mark.parametrize("how", [{"batch_interval_ms": 3}, {"latency_target_ms": 50}], ids=["interval", "auto"])
def test_each_gets_its_own(serve, rows, threads, delay_ms, how):
    """Unique payloads of several shapes, failures and clients that leave, from many at a time."""
    h = serve(**{**rows(delay_ms=delay_ms), "threads": threads, **how})
    bad, sizes = [], []

    def client(number):
        dice = random.Random(number)
        c = h.connect()
        for i in range(60):
            width, many = dice.choice([1, 1, 1, 4]), dice.choice([1, 1, 2, 5])
            x = [[number * 1e6 + i * 1e3 + r * 10 + k for k in range(width)] for r in range(many)]
            what = dice.random()
            if what < 0.05:
                left = h.connect()
                left.request("POST", "/", b'{"x":[[7]]}')
                left.close()
            elif what < 0.1:
                got = h.predict({"x": [[-1.0 - number] * width]}, connection=c)
                if got.status != 400 or got.error["message"] != f"x has {-1 - number}":
                    bad.append(got.body)
            else:
                got = h.predict({"x": x}, connection=c)
                if got.status != 200 or got.json()["y"] != answer(x):
                    bad.append((x, got.body))
                else:
                    sizes.append(got.json()["n"][0] / many)
        c.close()

    clients = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    assert bad == []
    if delay_ms:
        assert max(sizes) > 1, "nothing was batched"
    assert not re.search("warn", h.log, re.I)


# --- batching: auto


def auto_loop(h, clients, rounds):
    """Sizes of the batches that answers came in."""
    def ask(pair, connection):
        got = h.predict({"x": [pair]}, connection=connection).json()
        return got["n"][0], got["y"] == [[2 * v for v in pair]]
    return closed_loop(h, clients, rounds, ask)


def test_the_size_grows_as_the_target_allows(serve, rows):
    h = serve(**{**rows(delay_ms=10), "max_batch_size": 64, "latency_target_ms": 200})
    sizes = auto_loop(h, 24, 30)
    told = last_told(h)
    assert max(sizes) > 8 and told["size"] > 8
    assert [p[0] for p in told["points"]] == sorted(p[0] for p in told["points"])
    assert all(10e6 <= mean <= p99 for _, mean, p99 in told["points"])


def test_a_low_target_leaves_them_single(serve, rows):
    h = serve(**{**rows(delay_ms=10), "max_batch_size": 64, "latency_target_ms": 15})
    assert set(auto_loop(h, 1, 15)) == {1}
    assert last_told(h)["size"] == 1


def test_unless_a_crowd_waits_longer_than_that(serve, rows):
    h = serve(**{**rows(delay_ms=10), "max_batch_size": 64, "latency_target_ms": 15})
    assert max(auto_loop(h, 12, 20)) >= 4
    assert last_told(h)["size"] >= 4


def test_the_most_bounds_what_is_learned(serve, rows):
    h = serve(**{**rows(delay_ms=5), "max_batch_size": 4, "latency_target_ms": 1000})
    assert max(auto_loop(h, 16, 20)) == 4
    assert last_told(h)["size"] == 4


def test_one_client_with_auto_waits_for_nobody(serve, rows):
    h = serve(**{**rows(), "max_batch_size": 64, "latency_target_ms": 1000})
    start = time.monotonic()
    assert set(auto_loop(h, 1, 500)) == {1}
    assert time.monotonic() - start < 4
