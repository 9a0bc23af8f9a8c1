"""What is said when a predictor cannot be loaded."""
import os
import tempfile

import pytest

from harness import LOADING, PYTHON, QUERY, READY, skip_unless_others_reach_the_worker
from interpreters import is_for_all

GOOD = """
    class PythonPredictor:
        def __init__(self, config):
            self.config = config
        def predict(self, payload):
            return [self.config, payload]
"""


def test_progress_and_config(serve):
    w = serve(GOOD, config={"big": 2**70, "text": "ä"})
    assert [f for f in w.frames if f[0] == LOADING] == [(LOADING, 0, "importing predictor.py"), (LOADING, 0, "running __init__")]
    assert w.predict(1).json() == [{"big": 2**70, "text": "ä"}, 1]


def test_query_while_loading_and_when_ready(start):
    w = start("""
        import os, time
        class PythonPredictor:
            def __init__(self, config):
                while not os.path.exists("go"):
                    time.sleep(0.01)
            def predict(self, payload):
                return payload
    """)
    while w.expect(LOADING)[2] != "running __init__":
        pass
    w.send(QUERY)
    assert w.expect(LOADING)[2] == "running __init__"
    assert w.ping() < 1
    (w.project / "go").touch()
    w.ready()
    w.send(QUERY)
    assert w.expect(READY)[2] == "{}"


def test_a_request_may_come_before_ready(start):
    w = start("import time; time.sleep(0.5)\n" + "class PythonPredictor:\n  def predict(self, payload): return payload\n")
    assert w.predict(5).json() == 5


def test_paths(serve):
    w = serve({
        "sub/my-model.py": """
            import os, sys, beside, helper
            class PythonPredictor:
                def predict(self):
                    return [os.getcwd(), sys.path[:2], beside.x, helper.x, __name__, __file__, sys.argv]
        """,
        "beside.py": "x = 1", "src/helper.py": "x = 2",
    }, path="sub/my-model.py", python_path="src")
    p = str(w.project)
    assert w.predict().json() == [p, [p, p + "/src"], 1, 2, "predictor_my_model", p + "/sub/my-model.py", [p + "/sub/my-model.py"]]


def test_our_modules_are_not_in_the_way(serve):
    """A project may have modules with the names of ours."""
    w = serve({
        "predictor.py": """
            import loader, params, sys
            class PythonPredictor:
                def predict(self):
                    return [loader.x, params.x, any("soma/worker" in p or p.endswith("python/soma") for p in sys.path)]
        """,
        "loader.py": "x = 1", "params.py": "x = 2",
    })
    assert w.predict().json() == [1, 2, False]


def test_definitions_find_their_module(serve):
    """pickle and dataclasses look a class up by module and name."""
    w = serve("""
        import pickle
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: "int"
        class PythonPredictor:
            def predict(self, payload):
                return pickle.loads(pickle.dumps(Point(payload))).x
    """)
    assert w.predict(3).json() == 3


@pytest.mark.parametrize("files, path, code, message, remedy", [
    ({"other/predictor.py": ""}, "predictor.py", "missing_file", "the predictor file predictor.py is not in the project", "did you mean other/predictor.py?"),
    ({"model.py": "", "a.py": ""}, "predictor.py", "missing_file", "is not in the project", "its Python files are a.py, model.py"),
    ({"predictor.py/x.py": ""}, "predictor.py", "missing_file", "the predictor predictor.py is a folder", "set predictor.path"),
    ("x = 1\ndef f(:\n  pass\n", "predictor.py", "syntax_error", "predictor.py:2: SyntaxError: invalid syntax", "correct the line"),
    ({"predictor.py": "import other", "other.py": "def f():\nx"}, "predictor.py", "syntax_error", "other.py:2: IndentationError", "correct the line"),
    (b"x = '\xff'\n", "predictor.py", "syntax_error", "SyntaxError", "correct the line"),
    ("import nothing_like_it", "predictor.py", "import_error", "predictor.py imports nothing_like_it, which is not installed", "add nothing_like_it to requirements.txt"),
    ("def f():\n  import cv2_no.x\nf()", "predictor.py", "import_error", "imports cv2_no", "add cv2_no to requirements.txt"),
    ("import json.nothing", "predictor.py", "import_error", "imports json.nothing, which is not in the installed json", "pin the version"),
    ("from json import nothing", "predictor.py", "import_error", "cannot import name 'nothing'", "pin it in requirements.txt"),
    ({"predictor.py": "import tools", "src/tools.py": ""}, "predictor.py", "import_error", "which is in the folder src of the project", "set predictor.python_path to src"),
    ("1/0", "predictor.py", "import_error", "predictor.py raised while it was imported: ZeroDivisionError: division by zero", "see the traceback"),
    ("import sys; sys.exit(3)", "predictor.py", "import_error", "predictor.py called sys.exit(3) while it was imported", "__main__"),
    ("x = 1", "predictor.py", "missing_class", "predictor.py defines no class", "define class PythonPredictor"),
    ("class A: pass\nclass Predictor: pass", "predictor.py", "missing_class", "its classes are A, Predictor", "rename Predictor to PythonPredictor"),
    ("PythonPredictor = 3", "predictor.py", "missing_class", "not a class but a int", "define class PythonPredictor"),
    ("class PythonPredictor: pass\n\nclass PythonPredictor: pass", "predictor.py", "missing_class", "defines PythonPredictor 2 times (lines 1, 3)", "keep one"),
])
def test_file_and_import(start, files, path, code, message, remedy):
    failure = start(files, path=path).failed()
    assert failure["code"] == code
    assert message in failure["message"]
    assert remedy in failure["remedy"]


def test_syntax_error_shows_the_line(start):
    w = start("x = 1\ny = (1 +* 2)\n")
    failure = w.failed()
    assert "y = (1 +* 2)" in failure["traceback"] and "^" in failure["traceback"]
    assert "y = (1 +* 2)" in w.wait_log("soma: remedy: ")


def test_null_byte(start):
    assert start(b"x = 1\0").failed()["code"] in ("syntax_error", "import_error")


@pytest.mark.skipif(os.geteuid() != 0 or not is_for_all(PYTHON), reason="takes root, and an interpreter that others may run")
def test_unreadable(start):
    """As the unprivileged user of a replica."""
    skip_unless_others_reach_the_worker()
    w = start(GOOD, before=lambda w: (w.project / "predictor.py").chmod(0o600), env={"SOMA_TEST": "1"}, user=65534)
    failure = w.failed()
    assert failure["code"] == "missing_file"
    assert "cannot be read by user nobody" in failure["message"] and "chmod o+rX" in failure["remedy"]


INIT = "class PythonPredictor:\n  def __init__(self{}): pass\n  def predict(self, payload): pass\n"
PREDICT = "class PythonPredictor:\n  def __init__(self, config): pass\n  def predict({}): return 1\n"
POST = "class PythonPredictor:\n  def predict(self, payload): pass\n  def post_predict({}): pass\n"


@pytest.mark.parametrize("text, message, remedy", [
    (INIT.format(""), "__init__ does not take config", "def __init__(self, config)"),
    (INIT.format(", config, model"), "__init__ takes an argument model", "may take config, python_client, job_spec"),
    (INIT.format(", config, python_client"), "needs predictor.multi_model_reloading", "load the model in __init__"),
    ("class PythonPredictor:\n  def __init__(self, config): pass\n", "has no method predict", "define predict(self, payload)"),
    ("class PythonPredictor:\n  predict = 3\n", "predict is not a method but a int", "define it with def"),
    (PREDICT.format("self, payload, header"), "takes an argument header (did you mean headers?)", "predict may take payload, query_params, headers, batch_id"),
    (PREDICT.format("self, x=1"), "takes an argument x", "by name"),
    (PREDICT.format(""), "does not take self", "def predict(self, ...)"),
    (PREDICT.format("payload, headers"), "does not take self: its first argument is payload", "def predict(self, payload, headers)"),
    (INIT.format(", config").replace("def __init__", "async def __init__"), "__init__ is async", "asyncio.run"),
    (POST.format("self").replace("post_predict(self): pass", "pre_predict(self): yield 2"), "pre_predict is a generator", "return what predict is to get"),
    (POST.format("self").replace("def post_predict(self): pass", "async def post_predict(self): yield 2"), "post_predict is a generator", "without yield"),
    (POST.format("self, response").replace("post_predict", "pre_predict"), "pre_predict takes an argument response", "pre_predict may take payload, query_params, headers"),
    (POST.format("self, result"), "post_predict takes an argument result", "post_predict may take response, payload, query_params, headers"),
])
def test_signatures(start, text, message, remedy):
    failure = start(text).failed()
    assert failure["code"] == "bad_signature"
    assert failure["message"].startswith("predictor.py: PythonPredictor")
    assert message in failure["message"]
    assert remedy in failure["remedy"]


@pytest.mark.parametrize("parameters, expression, answer", [
    ("self", "1", 1),
    ("self, *args, **kwargs", "[args, kwargs]", [[], {}]),
    ("self, headers, payload", "[payload, headers['a']]", [7, "b"]),
    ("self, *, payload, batch_id", "[payload, batch_id]", [7, None]),
    ("self, payload=1, batch_id=2", "[payload, batch_id]", [7, None]),
    ("this, query_params, *, payload", "[payload, query_params['q']]", [7, "r"]),
])
def test_good_signatures(serve, parameters, expression, answer):
    w = serve("class PythonPredictor:\n  def __init__(self, config, job_spec): assert job_spec is None\n  def predict(%s): return %s\n" % (parameters, expression))
    assert w.predict(7, path="/?q=r", headers={"a": "b"}).json() == answer


def test_methods_of_other_kinds(serve):
    w = serve("""
        import functools
        def logged(f):
            @functools.wraps(f)
            def inner(*args, **kwargs):
                return f(*args, **kwargs)
            return inner
        class Base:
            @logged
            def predict(self, payload):
                return payload + self.x
        class PythonPredictor(Base):
            def __init__(self, config):
                self.x = 1
    """)
    assert w.predict(2).json() == 3
    assert serve("class PythonPredictor:\n  @staticmethod\n  def predict(payload): return payload\n").predict(2).json() == 2
    assert serve("class PythonPredictor:\n  @classmethod\n  def predict(cls, payload): return payload\n").predict(2).json() == 2


@pytest.mark.parametrize("body, message, remedy", [
    ("raise RuntimeError('no model')", "__init__ raised RuntimeError: no model", "see the traceback, correct predictor.py"),
    ("import sys; sys.exit('bad')", "__init__ called sys.exit('bad')", "raise an exception"),
    ("config['model']", "__init__ raised KeyError: 'model'", "set predictor.config.model"),
    ("import nothing_like_it", "ModuleNotFoundError", "add nothing_like_it to requirements.txt"),
])
def test_init_fails(start, body, message, remedy):
    w = start("class PythonPredictor:\n  def __init__(self, config):\n    %s\n  def predict(self): pass\n" % body)
    failure = w.failed()
    assert failure["code"] == "init_error"
    assert message in failure["message"]
    assert remedy in failure["remedy"]
    assert "predictor.py\", line 3, in __init__" in failure["traceback"]
    assert "loader.py" not in failure["traceback"]
    assert message.split("raised ")[-1].split(":")[0] in w.wait_log("remedy")


def test_a_huge_traceback_fits(start):
    failure = start("class PythonPredictor:\n  def __init__(self, config):\n    raise ValueError('\\u1234' * 300000)\n  def predict(self): pass\n").failed()
    assert failure["code"] == "init_error"


def test_exit_in_import(start):
    w = start("import os; os._exit(9)")
    assert w.wait() == 9


def test_init_and_predict_share_the_main_thread(serve):
    w = serve("""
        import threading
        class PythonPredictor:
            def __init__(self, config):
                self.thread = threading.get_ident()
            def predict(self):
                return [self.thread == threading.get_ident(), threading.current_thread() is threading.main_thread()]
    """)
    assert w.predict().json() == [True, True]


def test_logging_is_set_up_unless_the_user_did(serve):
    text = """
        import logging
        %s
        class PythonPredictor:
            def predict(self):
                logging.getLogger("mine").info("a word")
    """
    w = serve(text % "")
    w.predict()
    w.wait_log("INFO:mine:a word\n")
    w = serve(text % "logging.basicConfig(format='<%(message)s>', level='INFO')")
    w.predict()
    w.wait_log("<a word>\n")
    w = serve(text % "", log_level="error")
    w.predict()
    assert "a word" not in w.log


@pytest.mark.skipif(os.geteuid() != 0 or not is_for_all(PYTHON), reason="takes root, and an interpreter that others may run")
def test_a_file_in_tmp_that_is_anothers(start):
    """Two projects that both write /tmp/model.pkl."""
    skip_unless_others_reach_the_worker()
    with tempfile.NamedTemporaryFile() as theirs:
        failure = start("""
            class PythonPredictor:
                def __init__(self, config): open(config["path"], "wb")
                def predict(self): pass
        """, user=65534, config={"path": theirs.name}).failed()
    assert "PermissionError" in failure["message"]
    assert failure["remedy"] == "another user of this machine has made it (uid 0), and %s is shared by all: remove it, and write to a file of your own (tempfile.mkstemp())" % tempfile.gettempdir()
