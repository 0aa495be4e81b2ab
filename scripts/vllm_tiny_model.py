"""Makes a language model out of nothing but the corpus: a Llama of two layers with random weights.

Real vLLM needs a model, and no weights may be downloaded. What a run asks of vLLM is its scheduler, its
queue, its KV cache, its aborts and its metrics, and those do not care what the text says. So the weights are
random numbers from a fixed seed, and the tokenizer is a byte-level BPE trained on the documents that the
service retrieves.

Random as they are, three properties are wanted, and each is one factor on the weights. Answers differ from
question to question: queries and keys are large, so attention picks out a few of the prompt's tokens. Answers
are text: a token that is no text by itself (half a character, a control character, a role) has a row of zeros
in the last layer, so another token always scores higher. Answers end, at one token in some five hundred: the
row of the end-of-text token is `END_FACTOR` times as large as the others.

Runs in `.venv`, whose packages it uses; set-up calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

VOCABULARY = 4096
HIDDEN = 256
INTERMEDIATE = 688
LAYERS = 2
HEADS = 4
KEY_VALUE_HEADS = 2
HEAD = HIDDEN // HEADS
CONTEXT = 4096
SEED = 4
END_FACTOR = 1.25
LOGIT_SCALE = 4.0
ATTENTION_SCALE = 1.5
BEGIN, END = "<s>", "</s>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
MOST_CHARACTERS = 4_000_000
"""Of the corpus, for the tokenizer: more changes its 4,096 tokens little and its time much."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def texts(index: Path) -> list[str]:
    """The documents of an index, as many as the tokenizer is trained on."""
    from pyarrow import parquet

    found, length = [], 0
    for text in parquet.read_table(index / "documents.parquet", columns=["text"])["text"].to_pylist():
        found.append(text)
        length += len(text)
        if length > MOST_CHARACTERS:
            break
    return found


def train(corpus: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def is_text(token: str) -> bool:
    """Whether a token is text by itself; half of a character decodes to U+FFFD."""
    return bool(token) and token.isascii() and all(one.isprintable() or one in "\n\t" for one in token)


def weights(sayable: list[bool], end: int) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(SEED)

    def matrix(out: int, into: int, scale: float = 1.0) -> Any:
        """Random, and such that a unit input gives an output of `scale`."""
        return (random.standard_normal((out, into)) * scale / np.sqrt(into)).astype(np.float32)

    ones = np.ones(HIDDEN, dtype=np.float32)
    found = {
        "model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN, HIDDEN**0.5),
        "model.norm.weight": ones,
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        found |= {
            f"{at}input_layernorm.weight": ones,
            f"{at}self_attn.q_proj.weight": matrix(HEADS * HEAD, HIDDEN, ATTENTION_SCALE),
            f"{at}self_attn.k_proj.weight": matrix(KEY_VALUE_HEADS * HEAD, HIDDEN, ATTENTION_SCALE),
            f"{at}self_attn.v_proj.weight": matrix(KEY_VALUE_HEADS * HEAD, HIDDEN),
            f"{at}self_attn.o_proj.weight": matrix(HIDDEN, HEADS * HEAD),
            f"{at}post_attention_layernorm.weight": ones,
            f"{at}mlp.gate_proj.weight": matrix(INTERMEDIATE, HIDDEN),
            f"{at}mlp.up_proj.weight": matrix(INTERMEDIATE, HIDDEN),
            f"{at}mlp.down_proj.weight": matrix(HIDDEN, INTERMEDIATE),
        }
    last = matrix(VOCABULARY, HIDDEN, LOGIT_SCALE)
    last[: len(sayable)][~np.array(sayable)] = 0.0
    last[len(sayable) :] = 0.0
    last[end] = matrix(1, HIDDEN, LOGIT_SCALE * END_FACTOR)[0]
    return {**found, "lm_head.weight": last}


def config(begin: int, end: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": VOCABULARY,
        "bos_token_id": begin,
        "eos_token_id": end,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }


def make(index: Path, folder: Path) -> None:
    """Write the model, whole or not at all."""
    from safetensors.numpy import save_file

    tokenizer = train(texts(index))
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    sayable = [is_text(tokenizer.decode([token])) for token in range(tokenizer.get_vocab_size())]
    draft = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        tokenizer.save(str(draft / "tokenizer.json"))
        write(draft / "config.json", config(begin, end))
        described = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "model_max_length": CONTEXT,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        }
        write(draft / "tokenizer_config.json", described)
        save_file(weights(sayable, end), str(draft / "model.safetensors"), metadata={"format": "pt"})
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/vllm_tiny_model.py", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--index", type=Path, default=Path(".ragquake/index"), help="whose documents")
    parser.add_argument(
        "--out", type=Path, default=Path(".ragquake/models/tiny"), help="where the model goes"
    )
    given = parser.parse_args(arguments)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    make(given.index, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
