"""Makes test/fixtures/variants: small models whose details differ from those of the other fixtures, and what transformers
computes with them. Weights and pixels follow from a formula, so that only configurations and results are kept.

usage: variants.py FOLDER (the Python environment of run.sh). Float32, eager attention.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

out = Path(sys.argv[1])
torch.manual_seed(0)


def numbers(name, shape, scale):
    """Uniform on ±scale from a hash of name and place: the same as in learning/model/variants.test.ts."""
    word = 2**32
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % word
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed)) % np.uint64(word)
    for shift, factor in ((15, 2246822519), (13, 3266489917), (16, 1)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) % np.uint64(word)
    return torch.tensor(((x.astype(np.float64) / word * 2 - 1) * scale).astype(np.float32).reshape(shape))


def weight(name, shape):
    if "norm" in name or "ln_q" in name:
        return (1 if name.endswith("weight") else 0) + numbers(name, shape, 0.2)
    if name.endswith("bias"):
        return numbers(name, shape, 0.2)
    if "embed" in name:
        return numbers(name, shape, 0.5)
    return numbers(name, shape, 1.5 / np.sqrt(np.prod(shape[1:])))


LLAMA = dict(model_type="llama", vocab_size=60, hidden_size=24, intermediate_size=20, num_hidden_layers=3, max_position_embeddings=256, eos_token_id=1, pad_token_id=0)
CLIP = dict(model_type="clip_vision_model", hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, image_size=12, patch_size=4, projection_dim=8)
SIGLIP = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3)
QWEN = dict(model_type="qwen2_vl_text", vocab_size=60, hidden_size=48, intermediate_size=20, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3, max_position_embeddings=256, eos_token_id=1, pad_token_id=0, bos_token_id=2)
EYE = dict(depth=2, embed_dim=24, hidden_size=48, num_heads=3, mlp_ratio=2, patch_size=3, spatial_merge_size=2, temporal_patch_size=2)
IMAGE = 59

VARIANTS = {
    "llava-llama3": dict(
        model_type="llava", image_token_index=IMAGE, vision_feature_layer=-1, vision_feature_select_strategy="full",
        multimodal_projector_bias=False, projector_hidden_act="silu",
        vision_config=CLIP | dict(hidden_act="gelu_new"),
        text_config=LLAMA | dict(num_attention_heads=4, num_key_value_heads=1, head_dim=8, mlp_bias=True, rope_theta=500000.0,
            rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)),
    ),
    # As 13B: more heads than layers, multi-head attention, a vocabulary that was padded.
    "llava-13b-like": dict(
        model_type="llava", image_token_index=IMAGE, vision_feature_layer=1,
        vision_config=CLIP,
        text_config=LLAMA | dict(hidden_size=40, num_attention_heads=10, intermediate_size=108, vocab_size=64, rms_norm_eps=1e-5,
            rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64), rope_theta=10000.0),
    ),
    # 19 patches in a row: rows of the position table are found by rounding.
    "idefics3": dict(
        model_type="idefics3", image_token_id=IMAGE, scale_factor=19, tie_word_embeddings=False,
        vision_config=SIGLIP | dict(model_type="idefics3_vision", image_size=39, patch_size=2, hidden_act="gelu"),
        text_config=LLAMA | dict(num_attention_heads=6, num_key_value_heads=2, rope_theta=500000.0, attention_bias=True, rms_norm_eps=1e-5,
            rope_scaling=dict(rope_type="dynamic", factor=2.0)),
    ),
    # Tiles smaller than what the position table is made for.
    "smolvlm-small-tiles": dict(
        model_type="smolvlm", image_token_id=IMAGE, scale_factor=2, tie_word_embeddings=False,
        vision_config=SIGLIP | dict(model_type="smolvlm_vision", image_size=24, patch_size=3), pixels=18,
        text_config=LLAMA | dict(num_attention_heads=3, num_key_value_heads=3),
    ),
    "qwen2vl-windows": dict(
        model_type="qwen2_vl", image_token_id=IMAGE, vision_start_token_id=57, vision_end_token_id=58, video_token_id=56, tie_word_embeddings=False,
        vision_config=EYE | dict(spatial_merge_size=3, temporal_patch_size=1, hidden_act="gelu"),
        text_config=QWEN | dict(use_sliding_window=True, sliding_window=6, max_window_layers=1, rms_norm_eps=1e-5,
            rope_parameters=dict(rope_type="default", rope_theta=40000.0, mrope_section=[2, 3, 3])),
    ),
    "qwen2vl-yarn": dict(
        model_type="qwen2_vl", image_token_id=IMAGE, vision_start_token_id=57, vision_end_token_id=58, video_token_id=56, tie_word_embeddings=True,
        vision_config=EYE | dict(temporal_patch_size=3),
        text_config=QWEN | dict(num_key_value_heads=1,
            rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, rope_theta=1000000.0, mrope_section=[4, 2, 2])),
    ),
}


def batch(rows):
    """Right-padded rows of ids."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask


def text(seed, count):
    return [3 + (seed * 7 + i * i * 5 + i) % 50 for i in range(count)]


def qwen_inputs(fields):
    """Two pictures in the first row, one in the second, none in the third; each picture as its patches."""
    vision = fields["vision_config"]
    m, p, frames = vision["spatial_merge_size"], vision["patch_size"], vision["temporal_patch_size"]
    grids = [(2, 3), (4, 1), (1, 1)]  # in image tokens
    shapes = [[3, h * m * p, w * m * p] for h, w in grids]
    patches = []
    for k, (h, w) in enumerate(grids):
        cut = numbers(f"pixels {k}", shapes[k], 1.5).reshape(3, h, m, p, w, m, p).permute(1, 4, 2, 5, 0, 3, 6)
        cut = cut[:, :, :, :, :, None].expand(-1, -1, -1, -1, -1, frames, -1, -1)
        patches.append(cut.reshape(h * w * m * m, -1))
    image = lambda h, w: [57] + [IMAGE] * (h * w) + [58]
    rows = [text(1, 5) + image(2, 3) + text(2, 9) + image(4, 1) + text(3, 6), text(4, 3) + image(1, 1) + text(5, 4), text(6, 12)]

    def feed(rows, first, end):
        ids, mask = batch(rows)
        if first == end:
            return dict(input_ids=ids, attention_mask=mask)
        thw = torch.tensor([[1, h * m, w * m] for h, w in grids[first:end]])
        seen = dict(pixel_values=torch.cat(patches[first:end]), image_grid_thw=thw, mm_token_type_ids=(ids == IMAGE).int())
        return dict(input_ids=ids, attention_mask=mask, **seen)

    return shapes, rows, feed, dict(grids=grids)


def square_inputs(fields, side):
    """Some pictures in the first row, one in the second, none in the third."""
    llava = fields["model_type"] == "llava"
    vision = fields["vision_config"]
    side = side or vision["image_size"]
    count = 2 if llava else 3
    patches = (side // vision["patch_size"]) ** 2
    tokens = patches + (fields.get("vision_feature_select_strategy") == "full") if llava else patches // fields["scale_factor"] ** 2
    pixels = torch.stack([numbers(f"pixels {k}", (3, side, side), 1.5) for k in range(count)])
    rows = [text(1, 4) + [IMAGE] * (tokens * (count - 1)) + text(2, 8), [IMAGE] * tokens + text(4, 5), text(6, 12)]

    def feed(rows, first, end):
        ids, mask = batch(rows)
        if first == end:
            return dict(input_ids=ids, attention_mask=mask)
        seen = pixels[first:end]
        if not llava:  # as many tiles in every row, those that are missing all zeros
            counts = [sum(id == IMAGE for id in row) // tokens for row in rows]
            seen = torch.zeros(len(rows), max(counts), 3, side, side)
            for r, n in enumerate(counts):
                start = first + sum(counts[:r])
                seen[r, :n] = pixels[start : start + n]
        return dict(input_ids=ids, attention_mask=mask, pixel_values=seen)

    return [[3, side, side]] * count, rows, feed, {}


for name, given in VARIANTS.items():
    fields = {key: value for key, value in given.items() if key != "pixels"}
    model = AutoModelForImageTextToText.from_config(
        AutoConfig.for_model(**json.loads(json.dumps(fields))), attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(weight(key, tuple(parameter.shape)))
    qwen = fields["model_type"] == "qwen2_vl"
    pictures, rows, feed, extra = qwen_inputs(fields) if qwen else square_inputs(fields, given.get("pixels"))

    def logits(rows, first, end):
        if qwen:
            model.model.rope_deltas = None
        with torch.no_grad():
            return model(**feed(rows, first, end), use_cache=False).logits

    whole = logits(rows, 0, len(pictures))
    places = [(r, c) for r in range(len(rows)) for c in range(1, len(rows[r]), 5)]
    sample = [[r, c, v, round(whole[r, c, v].item(), 7)] for r, c in places for v in range(0, whole.shape[-1], 11)]
    # Greedy answers, each token by one pass over all before it.
    ends = [0, len(pictures) - 1, len(pictures), len(pictures)]
    answers, margin = [], float("inf")
    for r, row in enumerate(rows):
        answer = []
        for _ in range(6):
            best = logits([row + answer], ends[r], ends[r + 1])[0, -1].topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            answer.append(int(best.indices[0]))
        answers.append(answer)
    result = dict(config=fields, pictures=pictures, rows=rows, **extra, sample=sample, answers=answers)
    (out / f"{name}.json").write_text(json.dumps(result) + "\n")
    print(f"{name}: {sum(p.numel() for p in model.parameters())} weights, smallest margin {margin:.4f}")
