"""weights.py FOLDER: RoBERTa-large with random weights, by a seed, as from_pretrained reads it; 1.4 GB."""
import sys

import torch
from transformers import RobertaConfig, RobertaModel

torch.manual_seed(1)
config = RobertaConfig(vocab_size=50265, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                       max_position_embeddings=514, type_vocab_size=1)
RobertaModel(config, add_pooling_layer=False).save_pretrained(sys.argv[1])
