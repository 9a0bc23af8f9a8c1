"""A language model of Transformers': its class is named in soma.yaml, its weights are mapped where Soma has put them."""
import soma
import torch
import transformers


class NoMask(Exception):
    status_code = 400

    def __init__(self, mask):
        self.detail = {"message": "this model fills in one word: write %s where it is to be" % mask}


class PythonPredictor:
    def __init__(self, config):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(soma.models.open().path)
        self.model = soma.models.from_pretrained(getattr(transformers, config["class"]))

    def predict(self, payload):
        tokens = self.tokenizer(payload["text"], return_tensors="pt", truncation=True)
        with torch.inference_mode():
            if self.model.can_generate():
                return self.generate(tokens, payload)
            return self.fill(tokens, payload.get("words", 5))

    def generate(self, tokens, payload):
        """What comes after the text, or in answer to it. What `generate` takes beside may be given as `options`."""
        options = {"max_new_tokens": payload.get("tokens", 20), **payload.get("options", {})}
        out = self.model.generate(**tokens, **options)[0]
        # A model that has no encoder repeats what it was given; one that has begins with a token that is none of its own.
        own = out[1:] if self.model.config.is_encoder_decoder else out[tokens["input_ids"].shape[1]:]
        return {"text": self.tokenizer.decode(own, skip_special_tokens=True), "tokens": len(own)}

    def fill(self, tokens, words):
        """The likeliest words in place of the mask."""
        places = (tokens["input_ids"][0] == self.tokenizer.mask_token_id).nonzero()
        if not len(places):
            raise NoMask(self.tokenizer.mask_token)
        shares, found = self.model(**tokens).logits[0, places[0, 0]].softmax(-1).topk(words)
        return {"words": [{"word": self.tokenizer.decode([token]).strip(), "share": round(share, 4)} for token, share in zip(found.tolist(), shares.tolist())]}
