"""Writes the two graphs: graphs.py FOLDER MINILM

minilm.onnx is the encoder MINILM, cut to what an embedding service answers: the mean of the tokens' vectors, of length one.
mlp.onnx is a perceptron over 64 features of a table."""
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (64, 2048, 2048, 2048, 2048, 1)
WIDTH = 384


def constant(name, value):
    return numpy_helper.from_array(numpy.array(value, numpy.int64), name)


def minilm(source):
    model = onnx.load(source)
    graph = model.graph
    graph.initializer.extend([constant("pool.axis", [1]), constant("pool.last", [2])])
    # All tokens are of one text.
    graph.node.insert(0, helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"]))
    graph.node.extend([
        helper.make_node("Cast", ["attention_mask"], ["pool.mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["pool.mask", "pool.last"], ["pool.weights"]),
        helper.make_node("Mul", ["last_hidden_state", "pool.weights"], ["pool.weighted"]),
        helper.make_node("ReduceSum", ["pool.weighted", "pool.axis"], ["pool.sum"], keepdims=0),
        helper.make_node("LpNormalization", ["pool.sum"], ["sentence"], axis=1, p=2)])
    inputs = [each for each in graph.input if each.name != "token_type_ids"]
    del graph.input[:], graph.output[:]
    graph.input.extend(inputs)
    graph.output.append(helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["batch", WIDTH]))
    return model


def mlp():
    rng, nodes, values, last = numpy.random.default_rng(1), [], [], "x"
    for layer, (n, m) in enumerate(zip(SIZES, SIZES[1:])):
        w, b, out = f"w{layer}", f"b{layer}", f"h{layer}" if layer < len(SIZES) - 2 else "y"
        # So that what goes through is neither lost nor grows.
        values += [numpy_helper.from_array((rng.standard_normal((n, m)) * (2 / n) ** 0.5).astype(numpy.float32), w),
                   numpy_helper.from_array(rng.standard_normal(m).astype(numpy.float32) / 10, b)]
        nodes.append(helper.make_node("Gemm", [last, w, b], [out]))
        if out != "y":
            nodes.append(helper.make_node("Relu", [out], [f"r{layer}"]))
            last = f"r{layer}"
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIZES[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", SIZES[-1]])], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


onnx.save(minilm(sys.argv[2]), f"{sys.argv[1]}/minilm.onnx")
onnx.save(mlp(), f"{sys.argv[1]}/mlp.onnx")
