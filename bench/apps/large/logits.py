"""What a model says to a text before a word is chosen: the same few lines for all who are compared."""
import torch


def logits(model, tokens):
    """Of the last place; of a model with an encoder, those of its first word."""
    more = {}
    if model.config.is_encoder_decoder:
        more["decoder_input_ids"] = torch.tensor([[model.config.decoder_start_token_id]])
    with torch.inference_mode():
        return model(**tokens, **more).logits[0, -1].float().tolist()
