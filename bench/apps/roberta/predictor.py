"""RoBERTa-large: token ids in, the first numbers of the first token's vector out."""
import torch
from transformers import RobertaModel


class PythonPredictor:
    def __init__(self, config):
        self.model = RobertaModel.from_pretrained(config["weights"], add_pooling_layer=False).eval()
        self.predict({"ids": [0, 2]})  # the weights are read when they are first used

    def predict(self, payload):
        with torch.inference_mode():
            return {"row": self.model(torch.tensor([payload["ids"]])).last_hidden_state[0, 0, :4].tolist()}
