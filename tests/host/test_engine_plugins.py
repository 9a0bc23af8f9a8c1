"""Engines as strangers write them: what they may get wrong is said, and other languages fit."""
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

PORTS = """#include <stdlib.h>
#include "soma_engine.h"
static const struct soma_port list[] = {%s};
static const struct soma_ports ports = {%s};
static const struct soma_ports *get(const struct soma_model *m) { (void)m; return &ports; }
static int run(struct soma_model *m, uint32_t slot, const struct soma_request *in, struct soma_response *out, struct soma_error *error)
{
    (void)m, (void)slot, (void)list, (void)error;
    out->outputs = in->inputs;
    out->n_outputs = in->n_inputs;
    return SOMA_OK;
}
static int load(const struct soma_params *params, struct soma_model **ret, struct soma_error *error)
{
    (void)params, (void)ret, (void)error;
    return %s;
}
SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
    .abi = SOMA_ENGINE_ABI, .size = sizeof(struct soma_engine), .name = "mine", .load = load, .ports = get, .run = run};
"""
X = '{.name = "x", .dtype = SOMA_FLOAT32, .rank = 1, .shape = {-1}}'


def built(folder, text, compiler="cc", suffix=".c"):
    source = folder / f"mine{suffix}"
    source.write_text(text)
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT / "include"]
    subprocess.run([compiler, *flags, "-o", folder / "mine.so", source], check=True)
    return {"mine.so": (folder / "mine.so").read_bytes()}


@pytest.mark.parametrize("ports, how, told", [
    ('{.name = "x", .rank = 1, .shape = {-5}}', ".inputs = list, .n_inputs = 1",
     "the engine mine gives dimension 0 of the input 'x' the size -5; any size is -1"),
    (f"{X}, {X}", ".inputs = list, .n_inputs = 2", "the engine mine has two inputs called 'x'"),
    (f"{X}, {X}", ".outputs = list, .n_outputs = 2", "the engine mine has two outputs called 'x'"),
    (f'{X}, {{.name = ""}}', ".outputs = list, .n_outputs = 2", "the engine mine gives its output 1 no name"),
    (X, ".n_inputs = 3", "the engine mine says that it has 3 inputs, but not which: the list is NULL"),
    ('{.name = "x", .rank = 17}', ".inputs = list, .n_inputs = 1",
     "the engine mine gives the input 'x' the dtype 0 and 17 dimensions, which soma_engine.h does not know"),
])
def test_ports_that_cannot_be(start, tmp_path, ports, how, told):
    failed = start(built(tmp_path, PORTS % (ports, how, "SOMA_OK")), engine="mine.so").failed()
    assert told in failed["message"]


def test_load_fails_without_words(start, tmp_path):
    failed = start(built(tmp_path, PORTS % (X, ".open = 1", "-3")), engine="mine.so").failed()
    assert "the engine could not load the model (code -3), and does not say why" in failed["message"]


CXX = """// In C++: the header, its structs by position, and an exception that stays inside.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>
#include "soma_engine.h"

struct soma_model {
    struct slot { std::vector<std::string> texts; std::vector<soma_string> strings; soma_tensor out; };
    std::vector<slot> slots;
    soma_port port;
    soma_ports ports;
};
static int load(const soma_params *params, soma_model **ret, soma_error *)
{
    soma_model *m = new soma_model();
    m->slots.resize(params->slots);
    m->port = soma_port{"x", SOMA_STRING, 1, {-1}, {"n"}, 0};
    m->ports = soma_ports{&m->port, 1, &m->port, 1, 0};
    *ret = m;
    return SOMA_OK;
}
static void unload(soma_model *m) { delete m; }
static const soma_ports *ports(const soma_model *m) { return &m->ports; }
static int run(soma_model *m, uint32_t slot, const soma_request *in, soma_response *out, soma_error *error)
try {
    soma_model::slot &s = m->slots.at(slot);
    const soma_string *x = static_cast<const soma_string *>(in->inputs[0].data);
    s.texts.clear();
    s.strings.clear();
    for (size_t i = 0; i < in->inputs[0].count; i++) {
        if (x[i].data[x[i].len]) throw std::logic_error("no NUL");
        s.texts.emplace_back(x[i].data, x[i].len);
        if (s.texts.back() == "throw") throw std::runtime_error("x has the word 'throw'");
    }
    for (const std::string &t : s.texts) s.strings.push_back({t.data(), t.size() / 2});
    s.out = in->inputs[0];
    s.out.data = s.strings.data();
    out->outputs = &s.out;
    out->n_outputs = 1;
    return SOMA_OK;
} catch (const std::exception &e) {
    std::snprintf(error->text, sizeof error->text, "%s", e.what());
    return SOMA_BAD_INPUT;
}
SOMA_ENGINE_EXPORT const struct soma_engine soma_engine = {
    SOMA_ENGINE_ABI, 0, sizeof(struct soma_engine), "mine", nullptr, nullptr, 0, load, unload, ports, run, nullptr, nullptr};
"""


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
def test_an_engine_in_cxx(start, tmp_path):
    h = start(built(tmp_path, CXX, "c++", ".cc"), engine="mine.so").ready()
    assert h.predict({"x": ["abcd", "", "grün"]}).json() == {"x": ["ab", "", "gr"]}
    told = h.predict({"x": ["throw"]})
    assert told.status == 400 and told.error["message"] == "x has the word 'throw'"
