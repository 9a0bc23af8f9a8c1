"""pre_predict: what comes before a slot, as def and as async def."""
import threading
import time

import pytest

STAGES = """
    import asyncio, os, time, soma

    class PythonPredictor:
        DEF pre_predict(self, payload, query_params, headers):
            if payload.get("raise") == "pre":
                raise ValueError("no features")
            try:
                AWAIT sleep(payload.get("pre", 0))
            except asyncio.CancelledError:
                print("pre cancelled", payload["x"], flush=True)
                raise
            print("pre", payload["x"], flush=True)
            return {**payload, "id": headers["x-request-id"], "q": query_params.get("q")}

        DEF predict(self, payload):
            if payload.get("raise") == "predict":
                raise ValueError("no model")
            try:
                AWAIT sleep(payload.get("predict", 0))
            except asyncio.CancelledError:
                print("predict cancelled", payload["x"], flush=True)
                raise
            return [payload["x"], payload["id"], payload["q"]]

        DEF post_predict(self, payload, response):
            AWAIT sleep(payload.get("post", 0))
            print("post", response, flush=True)
            if payload.get("raise") == "post":
                raise ValueError("no database")
"""


def source(kind):
    if kind == "def":
        return STAGES.replace("DEF", "def").replace("AWAIT sleep", "time.sleep")
    return STAGES.replace("DEF", "async def").replace("AWAIT sleep", "await asyncio.sleep")


@pytest.fixture(params=["def", "async"])
def kind(request):
    return request.param


@pytest.fixture
def stages(serve, kind):
    return serve(source(kind))


def together(asked, n):
    """Runs it for 0..n-1 at the same time; the seconds it took."""
    began = time.monotonic()
    threads = [threading.Thread(target=asked, args=[i]) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    return time.monotonic() - began


def test_predict_receives_what_it_returns(stages):
    answer = stages.predict({"x": 1}, path="/?q=2", headers={"x-request-id": "r1"})
    assert answer.json() == [1, "r1", "2"]
    log = stages.wait_log("post")
    assert "\x1er1\x1fpre 1\n" in log and "\x1er1\x1fpost [1, 'r1', '2']\n" in log


def test_waiting_takes_no_slot(stages):
    """Twenty wait half a second each before and after predict, beside one slot."""
    answers = {}

    def ask(x):
        answers[x] = stages.predict({"x": x, "pre": 0.5, "post": 0.5}).json()[0]

    assert together(ask, 20) < 4
    assert answers == {x: x for x in range(20)}
    for x in range(20):
        stages.wait_log("post [%d, " % x)


def test_a_connection_goes_on(stages):
    c = stages.connect()
    for x in range(50):
        assert stages.predict({"x": x}, connection=c).json()[0] == x


@pytest.mark.parametrize("where, what", [("pre", "ValueError: no features"), ("predict", "ValueError: no model")])
def test_what_raises_is_answered(stages, where, what):
    answer = stages.predict({"x": 1, "raise": where}, headers={"x-request-id": "r9"})
    assert answer.status == 500
    assert (answer.error["code"], answer.error["message"], answer.error["request_id"]) == ("predict_error", what, "r9")
    log = stages.wait_log(what)
    assert ("pre_predict failed:" in log) == (where == "pre") and "Traceback" in log
    assert "post" not in log
    assert stages.predict({"x": 2}).json()[0] == 2


def test_a_body_that_is_no_json_does_not_reach_it(stages):
    answer = stages.predict(raw="{")
    assert answer.status == 400 and "not valid JSON" in answer.error["message"]
    assert stages.predict({"x": 2}).json()[0] == 2


def test_post_predict_that_raises_is_told(stages):
    assert stages.predict({"x": 1, "raise": "post"}, headers={"x-request-id": "r7"}).json()[0] == 1
    stages.wait_log("ValueError: no database")
    assert "\x1er7\x1fpost_predict failed:" in stages.log
    assert stages.predict({"x": 2}).json()[0] == 2


def test_a_client_that_goes_while_it_waits(serve, kind):
    w = serve(source(kind))
    c = w.connect()
    c.request("POST", "/", b'{"x": 1, "pre": 1.5}', {"content-type": "application/json"})
    time.sleep(0.3)
    began = time.monotonic()
    c.close()
    if kind == "async":
        w.wait_log("pre cancelled 1")
        assert time.monotonic() - began < 1
    else:
        w.wait_log("pre 1")
    assert w.predict({"x": 2}).json()[0] == 2
    w.wait_log("post [2, ")
    assert "post [1, " not in w.log, "predict ran for a client that had gone"


def test_an_async_predict_is_cancelled_when_its_client_goes(serve):
    w = serve(source("async"))
    c = w.connect()
    c.request("POST", "/", b'{"x": 1, "predict": 20}', {"content-type": "application/json"})
    w.wait_log("pre 1")
    c.close()
    w.wait_log("predict cancelled 1")
    assert w.predict({"x": 2}).json()[0] == 2
    assert "Traceback" not in w.log


def test_a_client_that_goes_between_pre_predict_and_predict(serve, kind):
    w = serve(source(kind))
    first = w.connect()
    first.request("POST", "/", b'{"x": 1, "predict": 1}', {"content-type": "application/json"})
    w.wait_log("pre 1")
    second = w.connect()
    second.request("POST", "/", b'{"x": 2}', {"content-type": "application/json"})
    w.wait_log("pre 2")
    second.close()
    assert w.predict({"x": 3}).json()[0] == 3
    w.wait_log("post [3, ")
    assert "post [2, " not in w.log
    assert first.getresponse().status == 200


def test_stopping_finishes_every_stage(serve, kind):
    w = serve(source(kind))
    connections = []
    for x in range(4):
        c = w.connect()
        c.request("POST", "/", b'{"x": %d, "pre": 0.5, "predict": 0.2, "post": 0.5}' % x, {"content-type": "application/json"})
        connections.append(c)
    time.sleep(0.2)
    w.send(4, 10000)  # STOP
    assert [c.getresponse().status for c in connections] == [200] * 4
    assert w.wait(10) == 0
    for x in range(4):
        w.wait_log("post [%d, " % x)


def test_max_hooks_bounds_its_threads(serve):
    w = serve(source("def"), max_hooks=2)
    answers = []
    took = together(lambda x: answers.append(w.predict({"x": x, "pre": 0.3}).status), 6)
    assert answers == [200] * 6 and took >= 0.9


def test_when_the_last_slot_is_stuck(serve, kind):
    """What pre_predict has seen is not repeated elsewhere; what it has not is."""
    w = serve(source(kind), predict_timeout_ms=700)
    stuck = w.connect()
    stuck.request("POST", "/", b'{"x": 1, "predict": 60}', {"content-type": "application/json"})
    w.wait_log("pre 1")
    waits = w.connect()
    waits.request("POST", "/", b'{"x": 2}', {"content-type": "application/json"})
    w.wait_log("pre 2")
    assert stuck.getresponse().status == 504
    answer = waits.getresponse()
    assert answer.status == 503 and "soma-not-begun" not in answer.headers
    assert b"pre_predict ran, predict did not" in answer.read()
    answer = w.predict({"x": 3})
    assert answer.status == 503 and answer.headers["soma-not-begun"] == "1"


def test_mixed_kinds(serve):
    w = serve("""
        import asyncio, threading

        class PythonPredictor:
            async def pre_predict(self, payload):
                self.loop = asyncio.get_running_loop()
                self.thread = threading.get_ident()
                return payload + 1
            def predict(self, payload):
                assert threading.get_ident() != self.thread
                return payload * 10
            async def post_predict(self, response, payload):
                assert asyncio.get_running_loop() is self.loop
                print("post", payload, response, flush=True)
    """)
    assert w.predict(1).json() == 20
    w.wait_log("post 2 20")


def test_one_loop_for_all_that_is_async(serve):
    """What pre_predict opens on the loop, an async generator goes on with."""
    w = serve("""
        import asyncio

        class PythonPredictor:
            async def pre_predict(self, payload):
                queue = asyncio.Queue()
                asyncio.ensure_future(self.fill(queue, payload))
                return queue
            async def fill(self, queue, n):
                for i in range(n):
                    await queue.put("%d " % i)
                    await asyncio.sleep(0)
                await queue.put(None)
            async def predict(self, payload):
                while True:
                    item = await payload.get()
                    if item is None:
                        return
                    yield item
    """)
    for _ in range(3):
        assert w.predict(5).body == b"0 1 2 3 4 "


def test_a_batch_of_what_pre_predict_made(serve, kind):
    w = serve(source(kind).replace("DEF predict", "").split("        def predict")[0].split("        async def predict")[0] + """
        DEF predict(self, payload):
            print("batch of", len(payload), flush=True)
            return [[p["x"], p["id"], p["q"]] for p in payload]
    """.replace("DEF", "def" if kind == "def" else "async def"), threads=8, max_batch_size=8, batch_interval_ms=50)
    answers = []
    together(lambda x: answers.append(w.predict({"x": x, "pre": 0.1}).json()[0]), 8)
    assert sorted(answers) == list(range(8))
    assert w.log.count("batch of") < 8


def test_a_hook_that_forgets_async(serve):
    w = serve("""
        async def later(x): return x
        class PythonPredictor:
            def pre_predict(self, payload): return later(payload)
            def predict(self, payload): return payload
    """)
    answer = w.predict(1)
    assert answer.status == 500 and "write async def" in answer.error["message"]


def test_handlers_may_be_async_with_a_callable(serve):
    w = serve("""
        import asyncio
        class Handler:
            async def handle_post(self, payload):
                await asyncio.sleep(0.01)
                async def later():
                    await asyncio.sleep(0.1)
                    print("called", payload, flush=True)
                return payload + 1, later
    """, **{"class": "Handler"})
    assert w.predict(1).json() == 2
    w.wait_log("called 1")


def test_an_async_hook_that_ends_the_process(serve):
    w = serve("""
        import sys
        class PythonPredictor:
            async def pre_predict(self, payload): sys.exit(payload)
            def predict(self, payload): return payload
    """)
    c = w.connect()
    c.request("POST", "/", b"7", {"content-type": "application/json"})
    assert w.wait(10) == 7
    w.wait_log("sys.exit(7)")


def test_many_at_once(serve, kind):
    w = serve(source(kind), threads=3)
    wrong = []

    def ask(k):
        c = w.connect()
        for x in range(100):
            if w.predict({"x": [k, x], "pre": 0.001 * (x % 3)}, connection=c).json()[0] != [k, x]:
                wrong.append((k, x))

    together(ask, 12)
    assert not wrong


@pytest.mark.parametrize("hook, init, turn", [("", "", 0.005), ("def pre_predict(self, payload): return payload", "", 0.001),
                                              ("async def post_predict(self): pass", "sys.setswitchinterval(0.003)", 0.003)])
def test_a_hook_that_computes_lets_predict_have_the_gil_soon(serve, hook, init, turn):
    """Python's own turn where there is no hook, and what __init__ says wherever it says something."""
    w = serve(f"""
        import sys
        class PythonPredictor:
            def __init__(self, config):
                {init or "pass"}
            def predict(self, payload):
                return sys.getswitchinterval()
            {hook}
    """)
    assert abs(w.predict(1).json() - turn) < 1e-6
