"""An encoder of RoBERTa-large's shape, in half precision on the GPU, for every server the same way.

The weights are random, by a seed: what is measured does not depend on what they say. A request is 128 token ids; its answer
is the first eight numbers of the first token's vector.
"""
import os

import numpy
import torch
from transformers import RobertaConfig, RobertaModel

DEVICE = os.environ.get("GPU_DEVICE", "cuda")
LAYERS = int(os.environ.get("GPU_LAYERS", "24"))
MAX_BATCH = int(os.environ.get("MAX_BATCH", "1"))
MAX_WAIT_S = float(os.environ.get("MAX_WAIT_S", "0"))
VOCABULARY, TOKENS, SHOWN = 50265, 128, 8


class Encoder:
    def __init__(self):
        torch.manual_seed(1)
        config = RobertaConfig(vocab_size=VOCABULARY, hidden_size=1024, num_hidden_layers=LAYERS, num_attention_heads=16,
                               intermediate_size=4096, max_position_embeddings=514, type_vocab_size=1)
        with torch.device(DEVICE):
            self.model = RobertaModel(config, add_pooling_layer=False).half().eval()
        # The driver loads a kernel when it is first used, and other sizes use others.
        size = 1
        while size <= MAX_BATCH:
            self.run([self.row([2] * TOKENS)] * size)
            size *= 2

    @staticmethod
    def row(ids):
        return numpy.array(ids, numpy.int64)

    def run(self, rows):
        """Rows of token ids to as many lists of numbers."""
        with torch.inference_mode():
            ids = torch.from_numpy(numpy.stack(rows)).to(DEVICE)
            return self.model(input_ids=ids).last_hidden_state[:, 0, :SHOWN].float().cpu().tolist()
