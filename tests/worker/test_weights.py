"""soma.models: the weights of a model as views of its files, in replicas.

The predictor of these tests runs what it is sent, so that a test says what a user would write.
"""
import json
import os
import sysconfig

import numpy
import pytest

from made_weights import dict_of, of_tensors, saved, saved_tensors, view

PACKAGES = {"PYTHONPATH": sysconfig.get_path("purelib")}
PREDICTOR = """
    import numpy, os, soma.models
    class PythonPredictor:
        def __init__(self, config):
            self.scope = {"numpy": numpy, "os": os, "soma": soma}
        def predict(self, payload):
            self.scope["result"] = None
            exec(payload, self.scope)
            return self.scope["result"]
"""
KINDS = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "u2", "I16": "i2", "U32": "u4", "I32": "i4", "U64": "u8", "I64": "i8", "F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8", "C128": "c16"}


def some(kind, shape=(3, 4)):
    rng = numpy.random.default_rng(7)
    return (rng.random(shape) * 100).astype(kind)


def rows(arrays):
    """name: array, as made_weights takes tensors."""
    kinds = {numpy.dtype(v): k for k, v in KINDS.items()}
    return {n: (kinds[a.dtype], a.shape, a.tobytes()) for n, a in arrays.items()}


@pytest.fixture
def serve_models(serve):
    def start(files, models=None, **more):
        files = {"predictor.py": PREDICTOR, **files}
        return serve(files, models={"open": True, **(models or {"path": "m"})}, **{"env": PACKAGES, **more})

    return start


def run(w, code):
    answer = w.predict(code)
    assert answer.status == 200, answer.body
    return answer.json()


def fails(w, code):
    answer = w.predict(code)
    assert answer.status == 500, answer.body
    return answer.error["message"]


# --- values -------------------------------------------------------------------


ALL = {k: some(v) for k, v in KINDS.items()}
ALL.update(scalar=numpy.float32(2.5).reshape(()), empty=numpy.zeros((0, 5), "i8"))


@pytest.mark.parametrize("file, content", [
    ("m/model.safetensors", of_tensors(rows(ALL))), ("m/pytorch_model.bin", saved_tensors(rows({k: v for k, v in ALL.items() if k not in ("U16", "U32", "U64", "C64", "C128")}))),
    ("m/unpadded.safetensors", of_tensors(rows(ALL), pad=False)), ("m/weights.pt", saved_tensors(rows({"F32": ALL["F32"]})))])
def test_values(serve_models, file, content):
    w = serve_models({file: content})
    there = run(w, "m = soma.models.open()\nresult = [[n, m[n].dtype, m[n].shape, m[n].nbytes, m[n].numpy().tobytes().hex(), m[n].numpy().dtype.str] for n in m]")
    assert there
    for name, dtype, shape, nbytes, content, kind in there:
        right = ALL[name]
        assert (tuple(shape), nbytes, content) == (right.shape, right.nbytes, right.tobytes().hex()), name
        assert kind == right.dtype.str and (dtype == name or name in ("scalar", "empty"))


def test_what_a_model_is(serve_models):
    w = serve_models({"m/model.safetensors": of_tensors(rows({"a": some("f4"), "b": some("i8")})), "m/config.json": "{}"})
    assert run(w, "m = soma.models.open()\nresult = [len(m), list(m), list(m.keys()), 'a' in m, 'c' in m, sorted(os.listdir(m.path)), repr(m['a'])]") == [
        2, ["a", "b"], ["a", "b"], True, False, ["config.json", "model.safetensors"], "<Tensor a: F32[3, 4]>"]
    assert "the model has no tensor 'A', but a, b" in fails(w, "m['A']")
    assert run(w, "from soma.models import Model, Tensor\nresult = isinstance(m, Model) and isinstance(m['a'], Tensor)")


def test_the_nearest_name_is_told(serve_models):
    w = serve_models({"m/model.safetensors": of_tensors(rows({"h.0.weight": some("f4")}))})
    assert "the model has no tensor 'h.0.weigth'; did you mean 'h.0.weight'?" in fails(w, "soma.models.open()['h.0.weigth']")


def test_views_are_read_only(serve_models):
    w = serve_models({"m/model.safetensors": of_tensors(rows({"a": some("f4"), "e": some("f4", (0,))}))})
    assert run(w, "m = soma.models.open()\nresult = [m[n].numpy().flags.writeable for n in m]") == [False, False]
    assert "read-only" in fails(w, "m['a'].numpy()[0] = 1")


def test_views_with_strides(serve_models):
    a = some("f4", (4, 4))
    w = serve_models({"m/model.pt": saved(dict_of([("t", view("F32", "0", 16, [4, 4], [1, 4])), ("d", view("F32", "0", 16, [4], [5])), ("x", view("F32", "0", 16, [3, 2], [0, 1], first=4)),
                                                   ("one", view("F32", "0", 16, [1, 2], [2**62, 1]))]), [a.tobytes()])})
    got = run(w, "m = soma.models.open()\nresult = {n: m[n].numpy().tolist() for n in m}")
    assert got == {"t": a.T.tolist(), "d": numpy.diagonal(a).tolist(), "x": [a[1, :2].tolist()] * 3, "one": [a[0, :2].tolist()]}
    assert run(w, "result = m['x'].nbytes") == 24


def test_dtypes_that_numpy_has_not(serve_models, start):
    files = {"m/model.safetensors": of_tensors({"b": ("BF16", [2], b"\x80\x3f\x00\x40"), "f": ("F8_E5M2", [1], b"\x3c")})}
    w = serve_models(files)
    assert run(w, "m = soma.models.open()\nresult = [m['b'].numpy().astype('f4').tolist(), m['f'].numpy().astype('f4').tolist()]") == [[1, 2], [1]]
    message = fails(w, "import sys\nsys.modules['ml_dtypes'] = None\nm['b'].numpy()")
    assert "the tensor 'b' has BF16, which numpy has not: take .torch(), or add ml_dtypes to requirements.txt" in message


def test_dlpack(serve_models):
    a = some("f4")
    w = serve_models({"m/model.safetensors": of_tensors(rows({"a": a}))})
    assert run(w, "m = soma.models.open()\nx = numpy.from_dlpack(m['a'])\nresult = [x.tolist(), x.flags.writeable, x.ctypes.data == m['a'].numpy().ctypes.data, m['a'].__dlpack_device__()]") == [
        a.tolist(), False, True, [1, 0]]


def test_views_outlive_their_model(serve_models):
    a = some("f4")
    w = serve_models({"m/model.safetensors": of_tensors(rows({"a": a}))})
    assert run(w, "import gc\nx = soma.models.open()['a'].numpy()\ngc.collect()\nresult = x.tolist()") == a.tolist()


# --- no copies ----------------------------------------------------------------

MIB = 64
MAPPED = """
def mapped(name):
    kib, inside = {}, False
    for line in open("/proc/self/smaps"):
        if "-" in line.split(" ")[0]:
            inside = line.rstrip().endswith(name)
        elif inside:
            key, value = line.split(":")
            kib[key] = kib.get(key, 0) + int(value.split()[0]) if value.strip().endswith("kB") else 0
    return kib
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
"""


def test_pages_are_shared(serve_models):
    """Two replicas that have read all of a model have no byte of it for themselves."""
    a = numpy.arange(MIB << 18, dtype="f4")
    first = serve_models({"m/model.safetensors": of_tensors(rows({"a": a}))})
    path = str(first.project / "m")
    second = serve_models({}, {"path": {"path": path, "source": "s3://bucket/m"}})
    before, sums = [], []
    for w in (first, second):
        before.append(run(w, MAPPED + "result = anonymous()"))
        sums.append(run(w, "x = soma.models.open()['a'].numpy()\nresult = float(x.sum(dtype='f8'))"))
    assert sums == [float(a.sum(dtype="f8"))] * 2
    for w, was in zip((first, second), before):
        kib = run(w, "result = mapped('m/model.safetensors')")
        assert kib["Rss"] >= MIB * 1024
        assert kib["Private_Clean"] + kib["Private_Dirty"] <= 64, kib  # what was just written is dirty, and shared
        assert kib["Pss"] <= MIB * 1024 * 0.6, kib
        assert run(w, "result = anonymous()") - was < MIB * 1024 // 8


def test_nothing_is_read_before_it_is_used(serve_models):
    a = numpy.zeros(MIB << 18, dtype="f4")
    w = serve_models({"m/model.safetensors": of_tensors(rows({"a": a, "b": some("f4")}))})
    assert run(w, MAPPED + "m = soma.models.open()\nx = m['a'].numpy()\nresult = mapped('m/model.safetensors')['Rss']") < 4096


# --- files --------------------------------------------------------------------


A, B = rows({"a": some("f4")}), rows({"b": some("i8")})


def index(**of):
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": of})


@pytest.mark.parametrize("files", [
    {"model.safetensors.index.json": index(a="1.safetensors", b="2.safetensors"), "1.safetensors": of_tensors(A), "2.safetensors": of_tensors(B), "more.safetensors": of_tensors(A)},
    {"model.safetensors.index.json": index(a="sub/1.safetensors", b="2.safetensors"), "sub/1.safetensors": of_tensors(A), "2.safetensors": of_tensors({**B, "a": A["a"]})},
    {"diffusion.safetensors.index.json": index(a="1.safetensors", b="1.safetensors"), "1.safetensors": of_tensors({**A, **B})},
    {"1.safetensors": of_tensors(A), "2.safetensors": of_tensors(B), "pytorch_model.bin": b"x"},
    {"pytorch_model.bin.index.json": index(a="p-1.bin", b="p-2.bin"), "p-1.bin": saved_tensors(A), "p-2.bin": saved_tensors(B)},
    {"pytorch_model.bin": saved_tensors({**A, **B}), "other.bin": b"x", "optimizer.pt": b"x", "training_args.bin": b"x"},
    {"1.pt": saved_tensors(A), "2.pth": saved_tensors(B), "rng_state.pth": b"x"},
])
def test_which_files(serve_models, files):
    w = serve_models({"m/" + n: c for n, c in files.items()})
    assert run(w, "m = soma.models.open()\nresult = {n: m[n].numpy().tolist() for n in m}") == {"a": some("f4").tolist(), "b": some("i8").tolist()}


def test_links_within_the_folder(serve_models):
    w = serve_models({"m/blobs/1": of_tensors(A), "m/blobs/2": of_tensors(B)})
    os.symlink("blobs/1", w.project / "m/1.safetensors")
    os.link(w.project / "m/blobs/2", w.project / "m/2.safetensors")
    os.symlink("m", w.project / "n")
    assert run(w, "result = sorted(soma.models.open())") == ["a", "b"]


def test_a_link_to_the_folder_is_followed(serve_models):
    """As the daemon swaps models: what is open stays as it was."""
    w = serve_models({"v1/m.safetensors": of_tensors(A), "v2/m.safetensors": of_tensors(B)}, {"path": "now"})
    os.symlink("v1", w.project / "now")
    assert run(w, "m = soma.models.open()\nresult = [list(m), os.path.basename(m.path)]") == [["a"], "v1"]
    os.symlink("v2", w.project / "new")
    os.rename(w.project / "new", w.project / "now")
    assert run(w, "result = [list(soma.models.open()), m['a'].numpy().tolist()]") == [["b"], some("f4").tolist()]


def test_names(serve_models):
    files = {"all/one/m.safetensors": of_tensors(A), "all/two/m.safetensors": of_tensors(B), "all/.x/m": ""}
    for models in [{"dir": "all"}, {"paths": [{"name": "one", "path": "all/one"}, {"name": "two", "path": "all/two/m.safetensors"}]}]:
        w = serve_models(files, models)
        assert run(w, "result = [list(soma.models.open('one')), list(soma.models.open('two'))]") == [["a"], ["b"]]
        assert "ValueError: name is not given: choose one of one, two" in fails(w, "soma.models.open()")
        assert "ValueError: there is no model 'tow': choose one of one, two" in fails(w, "soma.models.open('tow')")


def test_one_model_has_no_name(serve_models):
    w = serve_models({"m/m.safetensors": of_tensors(A)})
    assert "call soma.models.open() without 'x'" in fails(w, "soma.models.open('x')")


def test_places(serve_models):
    w = serve_models({"m/m.safetensors": of_tensors(A)}, {"path": "nothing"})
    assert "/nothing: is not there" in fails(w, "soma.models.open()")
    w = serve_models({}, {"path": "s3://bucket/m"})
    assert "s3://bucket/m has not been fetched" in fails(w, "soma.models.open()")


def test_no_models(serve):
    w = serve(PREDICTOR, env=PACKAGES)
    assert "the api has no models: set predictor.models.path, paths or dir in its config file" in fails(w, "soma.models.open()")


def test_a_model_in_init_that_is_wrong(start):
    failure = start({"predictor.py": PREDICTOR.replace("self.scope = {", "soma.models.open(); self.scope = {"), "m/m.safetensors": of_tensors(A)[:-1]}, models={"open": True, "path": "m"}, env=PACKAGES).failed()
    assert failure["code"] == "init_error" and "m.safetensors: tensor 'a' ends behind the file's end: it was cut off, or not fetched whole" in failure["message"]


def test_a_zygote_holds_an_open_model(zygote):
    """Mapped files are no reason to fork earlier: all have the same pages."""
    z = zygote({"predictor.py": PREDICTOR.replace("self.scope = {", "self.scope = {'m': soma.models.open(), "), "m/m.safetensors": of_tensors(A)}, models={"open": True, "path": "m"}, env=PACKAGES)
    assert z.level() == "init"
    w = z.replica()
    assert run(w, "result = m['a'].numpy().tolist()") == some("f4").tolist()


def test_another_module_of_that_name_is_left_alone(serve):
    w = serve({"predictor.py": PREDICTOR.replace("soma.models", "soma"), "soma/__init__.py": "here = 1\n"}, env=PACKAGES)
    assert run(w, "import importlib.util\nresult = [soma.here, importlib.util.find_spec('soma.models') is None]") == [1, True]
