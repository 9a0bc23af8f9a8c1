"""soma.models under torch and Transformers: modules whose parameters are views of the mapping.

BENCH_TORCH_PYTHON names a Python that has them; it is told LD_LIBRARY_PATH, where there is one. Models are small, of Transformers'
own making, and what plain Transformers makes of the same files is right.
"""
import os
import subprocess

import pytest

from made_weights import of_tensors, saved_tensors

PYTHON = os.environ.get("BENCH_TORCH_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="BENCH_TORCH_PYTHON names no Python with torch and transformers")

PREDICTOR = """
    import os, warnings
    import torch, transformers
    import soma.models

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(5)

    def addresses(model):
        '''What is mapped of the model's files.'''
        names = [os.path.join(model.path, n) for n in os.listdir(model.path)]
        spans = []
        for line in open("/proc/self/maps"):
            parts = line.rstrip().split(None, 5)
            if len(parts) == 6 and parts[5] in names:
                spans.append(tuple(int(x, 16) for x in parts[0].split("-")))
        return spans

    def copied(module, model):
        '''Names of parameters and buffers of files that are no views.'''
        spans = addresses(model)
        return [n for n, p in module.state_dict(keep_vars=True).items() if p.numel() and not any(a <= p.data_ptr() < b for a, b in spans)]

    class PythonPredictor:
        def __init__(self, config):
            self.scope = dict(globals())
        def predict(self, payload):
            self.scope["result"] = None
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                exec(payload, self.scope)
            return self.scope["result"]
"""

TINY = """
sizes = dict(vocab_size=64)
def made(name):
    if name == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_positions=32, n_embd=16, n_layer=2, n_head=2))
    if name == "roberta":
        return transformers.RobertaForMaskedLM(transformers.RobertaConfig(**sizes, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=40))
    if name == "t5":
        return transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0))
    return transformers.BlenderbotForConditionalGeneration(transformers.BlenderbotConfig(**sizes, d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=32))
ids = torch.tensor([[5, 6, 7, 8]])
def logits(model):
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=ids, **more).logits
"""


@pytest.fixture(scope="module")
def w(request):
    from harness import Worker

    here = subprocess.run([PYTHON, "-c", "import torch, transformers"], capture_output=True, text=True, check=False)
    if here.returncode:
        pytest.skip("%s has no torch and transformers: %s" % (PYTHON, here.stderr[-200:]))
    names = ["gpt2", "roberta", "t5", "blenderbot", "plain", "odd", "bf16"]
    tensors = {"a.weight": ("F32", [2, 3], bytes(range(24))), "a.bias": ("F32", [2], b"\0" * 8), "count": ("I64", [], b"\5" + b"\0" * 7)}
    files = {"m/%s/.keep" % n: "" for n in names}
    files.update({"predictor.py": PREDICTOR, "m/plain/model.safetensors": of_tensors(tensors), "m/odd/model.safetensors": of_tensors({"x": ("U8", [1], b"\1"), "y": ("F32", [2], b"\0\0\x80\x3f" * 2)}, pad=False),
                  "m/bf16/model.pt": saved_tensors({"b": ("BF16", [2], b"\x80\x3f\x00\x40")})})
    worker = Worker(files, python=PYTHON, models={"open": True, "dir": "m"}, env={"HF_HUB_OFFLINE": "1"})
    request.addfinalizer(worker.close)
    worker.expect(33, timeout=180)
    run(worker, TINY)
    return worker


def run(w, code):
    answer = w.predict(code, timeout=180)
    assert answer.status == 200, answer.body
    return answer.json()


def fails(w, code):
    answer = w.predict(code, timeout=180)
    assert answer.status == 500, answer.body
    return answer.error["message"]


# --- tensors ------------------------------------------------------------------


def test_views(w):
    assert run(w, "m = soma.models.open('plain')\nx = m['a.weight'].torch()\ny = torch.from_dlpack(m['a.weight'])\n"
                  "result = [list(x.shape), str(x.dtype), x.data_ptr() == y.data_ptr(), x.data_ptr() == m['a.weight'].torch().data_ptr(), m['count'].torch().item(), copied(torch.nn.ParameterDict({'x': x}), m)]") == [
        [2, 3], "torch.float32", True, True, 5, []]


def test_bfloat16(w):
    assert run(w, "b = soma.models.open('bf16')['b']\nresult = [str(b.torch().dtype), b.torch().tolist(), torch.from_dlpack(b).tolist()]") == ["torch.bfloat16", [1, 2], [1, 2]]


def test_what_is_not_aligned_is_copied(w):
    assert run(w, "y = soma.models.open('odd')['y']\nx = y.torch()\nresult = [y.offset % 4 > 0, x.data_ptr() % 4, x.tolist()]") == [True, 0, [1, 1]]


def test_what_torch_saves(w):
    """Its own files are read as it reads them."""
    code = """
import collections
strange = torch.arange(24.).reshape(4, 6)
tensors = {"t": strange.t(), "s": strange[1:3, ::2], "h": strange.half(), "b": strange.bfloat16(), "i": torch.arange(5), "e": torch.empty(0, 3), "p": torch.nn.Parameter(strange), "z": torch.tensor(1 + 2j),
           "f": strange.to(torch.float8_e4m3fn), "u": torch.arange(4).to(torch.uint16)}
os.makedirs("m/saved", exist_ok=True)
torch.save({"epoch": 3, "lr": 0.5, "state": collections.OrderedDict(tensors), "same": tensors["t"]}, "m/saved/model.pt")
m = soma.models.open("saved")
same = lambda a, b: a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(-1).view(torch.uint8), b.detach().contiguous().view(-1).view(torch.uint8)) if a.dim() else torch.equal(a, b)
result = [sorted(m) == sorted(["same", *("state." + n for n in tensors)]), [n for n in tensors if not same(m["state." + n].torch(), tensors[n])], m["same"].offset == m["state.t"].offset]
"""
    assert run(w, code) == [True, [], True]


# --- modules ------------------------------------------------------------------

MODULE = """
class Net(torch.nn.Module):
    def __init__(self, wide=3, tied=False, more=False):
        super().__init__()
        self.a = torch.nn.Linear(wide, 2)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        if tied:
            self.b = torch.nn.Linear(wide, 2)
            self.b.weight = self.a.weight
            self.b.bias = self.a.bias
        if more:
            self.c = torch.nn.Linear(wide, 2)
m = soma.models.open("plain")
"""


def test_load_into(w):
    for device in ("cpu", "meta"):
        got = run(w, MODULE + "with torch.device('%s'): net = Net()\n" % device + "loaded = soma.models.load_into(net, m)\nx = torch.ones(1, 3)\n"
                  "result = [loaded is net, copied(net, m), torch.equal(net.a.weight, m['a.weight'].torch()), net.count.item(), isinstance(net.a.weight, torch.nn.Parameter), list(net.a(x).shape)]")
        assert got == [True, [], True, 5, True, [1, 2]]


def test_load_into_ties(w):
    for device in ("cpu", "meta"):
        got = run(w, MODULE + "with torch.device('%s'): net = Net(tied=True)\n" % device + "soma.models.load_into(net, m)\nresult = [net.b.weight is net.a.weight, net.b.bias is net.a.bias, copied(net, m)]")
        assert got == [True, True, []]


def test_load_into_says_what_does_not_fit(w):
    message = fails(w, MODULE + "soma.models.load_into(Net(more=True), m)")
    assert "does not fit Net: Net has 2 that the model has not (c.bias, c.weight); strict=False leaves them" in message
    message = fails(w, MODULE + "soma.models.load_into(torch.nn.Linear(3, 2), m)")
    assert "Linear has 2 that the model has not (bias, weight), and the model has 3 that Linear has not (a.bias, a.weight, count)" in message
    message = fails(w, MODULE + "soma.models.load_into(Net(wide=4), m)")
    assert "does not fit Net: " in message and "a.weight" in message and "[2, 3]" in message
    assert run(w, MODULE + "net = Net(more=True)\nwas = net.c.weight\nsoma.models.load_into(net, m, strict=False)\nresult = [net.c.weight is was, torch.equal(net.a.weight, m['a.weight'].torch())]") == [True, True]


# --- Transformers -------------------------------------------------------------


def saved(w, name, save="safetensors"):
    how = {"safetensors": "net.save_pretrained(folder)", "shards": "net.save_pretrained(folder, max_shard_size='8KB')",
           "archive": "net.config.architectures = [type(net).__name__]; net.config.save_pretrained(folder); torch.save(net.state_dict(), folder + '/pytorch_model.bin')"}[save]
    run(w, "import shutil\nfolder = 'm/%s'\nshutil.rmtree(folder)\nos.makedirs(folder)\nnet = made('%s').eval()\n%s\n" % (name, name, how))


@pytest.mark.parametrize("save", ["safetensors", "shards", "archive"])
@pytest.mark.parametrize("name", ["gpt2", "roberta", "t5", "blenderbot"])
def test_from_pretrained(w, name, save):
    saved(w, name, save)
    got = run(w, """
plain = type(net).from_pretrained(folder)
mapped = soma.models.from_pretrained(type(net), %r)
m = soma.models.open(%r)
result = {
    "same": torch.equal(logits(mapped), logits(plain)) and torch.equal(logits(mapped), logits(net)),
    "copied": [n for n in copied(mapped, m) if n not in ("lm_head.bias", "lm_head.decoder.bias")],  # tie_weights() pads those
    "class": type(mapped) is type(net), "eval": not mapped.training, "path": mapped.config.name_or_path == m.path,
    "meta": [n for n, t in [*mapped.named_parameters(), *mapped.named_buffers()] if t.is_meta],
    "generation": not mapped.can_generate() or mapped.generation_config.to_dict() == plain.generation_config.to_dict(),
    "tied": {n for n, _ in mapped.named_parameters()} == {n for n, _ in plain.named_parameters()},
}
""" % (name, name))
    assert got == {"same": True, "copied": [], "class": True, "eval": True, "path": True, "meta": [], "generation": True, "tied": True}


def test_from_pretrained_of_the_base_model(w):
    """Names with and without the prefix of the model that a class is made on."""
    saved(w, "gpt2")
    assert run(w, "m = soma.models.open('gpt2')\nbase = soma.models.from_pretrained(transformers.GPT2Model, 'gpt2')\nplain = transformers.GPT2Model.from_pretrained(folder)\n"
                  "result = [torch.equal(base(ids).last_hidden_state, plain(ids).last_hidden_state), copied(base, m)]") == [True, []]
    run(w, "base.save_pretrained(folder)")
    assert run(w, "m = soma.models.open('gpt2')\nhead = soma.models.from_pretrained(transformers.GPT2LMHeadModel, 'gpt2')\nresult = [torch.equal(logits(head), logits(net)), copied(head, m)]") == [True, []]


def test_auto_classes(w):
    saved(w, "t5")
    assert run(w, "result = [type(soma.models.from_pretrained(c, 't5')).__name__ for c in (transformers.AutoModelForSeq2SeqLM, transformers.AutoModel)]") == ["T5ForConditionalGeneration", "T5Model"]
    assert "is no model for AutoModelForCausalLM, but of T5Config (T5ForConditionalGeneration): name the class itself" in fails(w, "soma.models.from_pretrained(transformers.AutoModelForCausalLM, 't5')")


def test_generate(w):
    saved(w, "gpt2")
    assert run(w, "mapped = soma.models.from_pretrained(transformers.GPT2LMHeadModel, 'gpt2')\n"
                  "a, b = (g.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False, pad_token_id=0).tolist() for g in (mapped, net))\nresult = a == b") is True


def test_another_dtype_is_a_copy_and_is_said(w):
    saved(w, "gpt2")
    assert run(w, """
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    half = soma.models.from_pretrained(transformers.GPT2LMHeadModel, "gpt2", dtype=torch.bfloat16)
result = [str(half.dtype), [str(t.message) for t in told if "were converted to another dtype, so each replica has a copy of its own: dtype='float32'" in str(t.message)] != []]
""") == ["torch.bfloat16", True]


def test_what_from_pretrained_does_not_take(w):
    assert "takes no state_dict: the weights and the config are those of" in fails(w, "soma.models.from_pretrained(transformers.GPT2Model, 'gpt2', state_dict={})")
    assert "has no config.json, from which transformers makes a GPT2Model" in fails(w, "soma.models.from_pretrained(transformers.GPT2Model, 'plain')")
    assert "Linear has no from_pretrained: use soma.models.load_into(module)" in fails(w, "soma.models.from_pretrained(torch.nn.Linear, 't5')")


def test_nothing_is_warned_of(w):
    """All of the above ran with warnings as errors; and those of others come through."""
    assert run(w, """
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    soma.models.open("plain")["a.weight"].torch()
    warnings.warn("another")
result = [str(t.message) for t in told]
""") == ["another"]
