"""server_side_batching of a class: lists in, a list out, and each caller its own."""
import threading
import time

import pytest
from harness import BATCHING
from loops import closed_loop, last_told

BATCHES = {"max_batch_size": 8, "batch_interval_ms": 50}

PREDICTOR = """
    import time
    import threading

    class HTTPException(Exception):
        def __init__(self, status_code, detail):
            self.status_code, self.detail = status_code, detail

    class PythonPredictor:
        def __init__(self, config):
            self.delay = config.get("delay", 0)
            self.inside = threading.Lock()

        def predict(self, payload, headers, query_params):
            assert self.inside.acquire(blocking=False), "two batches at a time"
            try:
                time.sleep(self.delay)
                if any(p == "raise" for p in payload):
                    raise ValueError("the whole batch")
                if any(p == "teapot" for p in payload):
                    raise HTTPException(418, "short and stout")
                if payload[0] == "short":
                    return payload[1:]
                if payload[0] == "dict":
                    return {"n": len(payload)}
                if "stream" in payload:
                    return [iter("abc") if p == "stream" else p for p in payload]
                assert len(payload) == len(headers) == len(query_params)
                return [KeyError("alone") if p == "fail" else {"got": p, "n": len(payload), "q": dict(q), "h": h.get("x-mine")}
                        for p, q, h in zip(payload, query_params, headers)]
            finally:
                self.inside.release()
"""


def later(worker, value, **more):
    result = []
    thread = threading.Thread(target=lambda: result.append(worker.predict(value, **more)))
    thread.start()

    def answer():
        thread.join(30)
        return result[0]

    return answer


def together(worker, values):
    """Their answers; all but the first wait while another runs."""
    first = later(worker, "first")
    time.sleep(0.1)
    rest = [later(worker, v) for v in values]
    assert first().status == 200
    return [r() for r in rest]


def test_lists_in_and_a_list_out(serve):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    first = later(w, "a", path="/?k=1", headers={"x-mine": "A"})
    time.sleep(0.1)
    rest = [later(w, i, path=f"/?k={i}", headers={"x-mine": str(i)}) for i in range(5)]
    assert first().json() == {"got": "a", "n": 1, "q": {"k": "1"}, "h": "A"}
    assert [r().json() for r in rest] == [{"got": i, "n": 5, "q": {"k": str(i)}, "h": str(i)} for i in range(5)]


def test_one_client_waits_for_nobody(serve):
    w = serve(PREDICTOR, **{**BATCHES, "batch_interval_ms": 3000})
    start = time.monotonic()
    assert [w.predict(i).json()["n"] for i in range(20)] == [1] * 20
    assert time.monotonic() - start < 2.5


def test_those_who_ask_again_are_waited_for(serve):
    """Two clients, each with its next request when it has the answer: they share batches, and do not take turns."""
    w = serve(PREDICTOR, config={"delay": 0.05}, **{**BATCHES, "batch_interval_ms": 1000})
    sizes = []

    def client():
        for _ in range(10):
            sizes.append(w.predict("x").json()["n"])

    clients = [threading.Thread(target=client) for _ in range(2)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert sizes.count(2) >= 14


def test_one_of_them_fails_alone(serve):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    got = together(w, [1, "fail", 2])
    assert [g.status for g in got] == [200, 500, 200]
    assert got[1].error["message"] == "KeyError: 'alone'"
    assert [got[0].json()["got"], got[2].json()["got"]] == [1, 2]


@pytest.mark.parametrize("value, status, message", [
    ("raise", 500, "ValueError: the whole batch"),
    ("dict", 500, "TypeError: predict returned dict for 3 requests: with batching it takes lists and returns a list with one result for each"),
    ("short", 500, "ValueError: predict returned a list of 2 for 3 requests: with batching it returns one result for each"),
])
def test_what_fails_for_all(serve, value, status, message):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    got = together(w, [value] * 3)
    assert [(g.status, g.error["message"]) for g in got] == [(status, message)] * 3
    assert w.predict("x").json()["got"] == "x"


def test_an_item_is_no_stream(serve):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    got = together(w, ["stream", "plain"])
    assert (got[0].status, got[0].error["message"]) == (500, "TypeError: predict returned a generator for one of its requests: with batching each "
                                                         "answer is made in one piece; join its chunks, or stream from an api that does not batch")
    assert got[1].body == b"plain"


def test_one_traceback_for_all(serve):
    w = serve(PREDICTOR, config={"delay": 1}, expose_tracebacks=True, **BATCHES)
    got = together(w, ["raise"] * 3)
    assert [g.status for g in got] == [500] * 3
    assert w.wait_log("ValueError: the whole batch").count("in predict") == 1


def test_an_exception_with_a_status(serve):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    assert [(g.status, g.body) for g in together(w, ["teapot"] * 3)] == [(418, b"short and stout")] * 3


def test_one_that_is_no_json_does_not_join(serve):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    first = later(w, "first")
    time.sleep(0.05)
    good = [later(w, i) for i in range(2)]
    assert w.predict(raw="{").status == 400
    assert [g().json()["n"] for g in good] == [2, 2]
    assert first().status == 200


def test_those_whose_clients_went_leave_the_batch(serve):
    w = serve(PREDICTOR, config={"delay": 1}, **BATCHES)
    first = later(w, "first")
    time.sleep(0.1)
    stays = later(w, "stays")
    for _ in range(3):
        c = w.connect()
        c.request("POST", "/", b'"goes"')
        time.sleep(0.02)
        c.close()
    assert stays().json() == {"got": "stays", "n": 1, "q": {}, "h": None}
    assert first().status == 200


def test_waiting_is_not_the_predicts_time(serve):
    w = serve(PREDICTOR, config={"delay": 0.5}, predict_timeout_ms=800, **BATCHES)
    assert [g.status for g in together(w, [1, 2, 3])] == [200] * 3


def test_a_batch_that_takes_too_long(serve):
    w = serve(PREDICTOR.replace("self.delay)", "60 if len(payload) > 1 else 0.3)"), predict_timeout_ms=600, **BATCHES)
    assert [g.status for g in together(w, [1, 2, 3])] == [504] * 3


@pytest.mark.parametrize("threads", [1, 2])
def test_stopping_answers_those_who_wait(serve, threads):
    w = serve(PREDICTOR.replace("self.inside = threading.Lock()", "self.inside = threading.Semaphore(2)"), config={"delay": 1}, **{**BATCHES, "threads": threads})
    answers = [later(w, i) for i in range(5)]
    time.sleep(0.1)
    w.send(4, 5000)
    assert sorted(a().json()["got"] for a in answers) == list(range(5))
    assert w.wait() == 0


def test_each_gets_its_own(serve):
    w = serve(PREDICTOR, config={"delay": 0.001}, **BATCHES)
    bad = []

    def client(number):
        c = w.connect()
        for i in range(60):
            value = [number, i]
            answer = w.predict(value, connection=c)
            if answer.status != 200 or answer.json()["got"] != value:
                bad.append(answer.body)
        c.close()

    clients = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert bad == []


# --- batching: auto

AUTO = {"max_batch_size": 64, "latency_target_ms": 100}
MODEL = """
    import time

    class PythonPredictor:
        def __init__(self, config):
            self.base, self.each = config["ms"]

        def predict(self, payload):
            time.sleep((self.base + self.each * len(payload)) / 1000)
            return [{"got": p, "n": len(payload)} for p in payload]
"""


def auto_loop(worker, clients, rounds):
    """Sizes of the batches that answers came in."""
    def ask(pair, connection):
        got = worker.predict(pair, connection=connection).json()
        return got["n"], got["got"] == pair
    return closed_loop(worker, clients, rounds, ask)


def test_the_size_grows_as_the_target_allows(serve):
    w = serve(MODEL, config={"ms": [10, 1]}, **{**AUTO, "latency_target_ms": 500})
    sizes = auto_loop(w, 32, 30)
    told = last_told(w)
    assert max(sizes) > 8
    assert [p[0] for p in told["points"]] == sorted(p[0] for p in told["points"])
    means = [p[1] for p in told["points"]]
    assert means == sorted(means) and means[0] >= 10e6
    assert all(mean <= p99 for _, mean, p99 in told["points"])
    assert 8 < told["size"] <= 64


def test_a_low_target_caps_the_size(serve):
    w = serve(MODEL, config={"ms": [5, 5]}, **{**AUTO, "latency_target_ms": 60})
    sizes = auto_loop(w, 16, 12)
    # 2 * (5 + 5n) <= 60
    assert max(sizes) <= 8 and sizes.count(1) < len(sizes)
    assert last_told(w)["size"] <= 5


def test_slower_than_the_target_is_one_by_one(serve):
    w = serve(MODEL, config={"ms": [60, 0]}, **AUTO)
    assert set(auto_loop(w, 1, 8)) == {1}
    told = last_told(w)
    assert (told["size"], told["points"][0][0]) == (1, 1) and told["points"][0][1] >= 60e6


def test_unless_a_crowd_waits_longer_than_that(serve):
    """One by one each of 12 would wait for 720 ms."""
    w = serve(MODEL, config={"ms": [60, 0]}, **AUTO)
    assert max(auto_loop(w, 12, 12)) >= 4
    assert last_told(w)["size"] >= 4


def test_one_client_has_no_batch_to_wait_for(serve):
    w = serve(MODEL, config={"ms": [0, 0]}, **AUTO)
    start = time.monotonic()
    assert set(auto_loop(w, 1, 300)) == {1}
    assert time.monotonic() - start < 3


def test_several_slots_have_a_batch_each(serve):
    w = serve(MODEL, config={"ms": [20, 0]}, threads=2, **{**AUTO, "latency_target_ms": 500})
    sizes = auto_loop(w, 16, 20)
    assert max(sizes) > 2
    assert w.predict("x").status == 200


def test_what_is_learned_is_told_rarely(serve):
    w = serve(MODEL, config={"ms": [1, 0]}, **AUTO)
    auto_loop(w, 8, 100)
    told = [f for f in iter(lambda: frame_now(w), None) if f[0] == BATCHING]
    assert 1 <= len(told) <= 40


def frame_now(worker):
    try:
        return worker.receive(0.2)
    except AssertionError:
        return None


def test_those_in_pre_predict_are_waited_for(serve):
    """Eight come one by one through pre_predict, 20 ms apart: the first waits for the others, not for the whole interval."""
    w = serve("""
        import asyncio
        class PythonPredictor:
            async def pre_predict(self, payload):
                await asyncio.sleep(0.2 + 0.02 * payload)
                if payload == 8:
                    raise ValueError("the last does not come")
                return payload
            def predict(self, payload):
                return [[x, len(payload)] for x in payload]
    """, threads=8, max_batch_size=16, batch_interval_ms=10000)
    answers = []
    began = time.monotonic()
    clients = [threading.Thread(target=lambda x=x: answers.append(w.predict(x).json())) for x in range(9)]
    for t in clients:
        t.start()
    for t in clients:
        t.join(60)
    assert sorted(a for a in answers if isinstance(a, list)) == [[x, 8] for x in range(8)]
    assert time.monotonic() - began < 8
