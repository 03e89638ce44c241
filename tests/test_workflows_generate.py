"""Going on from texts with a GPT, as users do. Run: .venv/bin/python -m pytest tests/test_workflows_generate.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from tiny import save_tiny_bert, unmask
from unmask import generate, load, save_pretrained
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.models.gpt import GPTConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

END = "<|endoftext|>"


def save_tiny_gpt(folder: Path, head: str = "causal-lm", **changes: Any) -> Path:
    """Save a random GPT-2 that reads and writes single bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE(vocab={piece: i for i, piece in enumerate([*alphabet, END])}, merges=[]))
    backend.add_special_tokens([END])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    sizes = {"vocab_size": 257, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = GPTConfig(**sizes, intermediate_size=128, max_position_embeddings=60, initializer_range=0.3, **changes)
    tokenizer = Tokenizer(backend, {"bos_token": END, "eos_token": END})
    save_pretrained(build_model(config, head, seed=2), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def gpt(tmp_path_factory) -> Path:
    return save_tiny_gpt(tmp_path_factory.mktemp("models") / "gpt", extra={"eos_token_id": 256})


def test_greedy_is_what_transformers_writes(gpt):
    import transformers

    reference = transformers.AutoModelForCausalLM.from_pretrained(gpt)
    prompts = ["The whale", "Sie lag", " a"]
    texts = generate(prompts, model=gpt, max_new_tokens=17)
    tokenizer = load(gpt).tokenizer
    for prompt, [text] in zip(prompts, texts, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False).input_ids])
        theirs = reference.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=17, do_sample=False, pad_token_id=256
        )
        assert text.token_ids == theirs[0, ids.shape[1] :].tolist()
        assert text.prompt == prompt
        assert prompt + text.text == tokenizer.decode(theirs[0].tolist())
    assert generate(prompts[0], model=str(gpt), max_new_tokens=17) == texts[:1]
    assert generate(prompts, model=load(gpt, head="causal-lm"), max_new_tokens=17) == texts
    assert generate([], model=gpt) == []


def test_what_is_saved_says_where_texts_end(tmp_path):
    """Else transformers would look for the token GPT-2 has, 50256, in a vocabulary of 257."""
    folder = save_tiny_gpt(tmp_path / "new")
    config = json.loads((folder / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (256, 256)
    assert GPTConfig(vocab_size=257).to_dict()["eos_token_id"] is None
    assert "eos_token_id" not in GPTConfig().to_dict()
    assert load(folder).config.extra["eos_token_id"] == 256
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    pretrained = load(folder, head="causal-lm")
    with torch.no_grad():
        pretrained.model.encoder.final_norm.weight.zero_()
        pretrained.model.encoder.final_norm.bias.copy_(pretrained.model.encoder.embeddings.word.weight[256] * 100)
    assert generate("x", model=pretrained)[0][0].finish_reason == "end"  # then the tokenizer says it


def test_where_the_model_ends_the_text(gpt, tmp_path):
    """The end is the config's, one token or several, or else the tokenizer's."""
    [[whole]] = generate("The whale", model=gpt, max_new_tokens=12)
    assert whole.finish_reason == "length"
    third, fifth = whole.token_ids[2], whole.token_ids[4]
    pretrained = load(gpt, head="causal-lm")
    for number, (end, length) in enumerate(((third, 3), ([fifth, third], 3), ([fifth], 5), (None, 12))):
        length = min(length, whole.token_ids.index(fifth) + 1 if end == [fifth] else length)
        folder = save_tiny_gpt(tmp_path / str(number), extra={} if end is None else {"eos_token_id": end})
        [[text]] = generate("The whale", model=folder, max_new_tokens=12)
        assert text.token_ids == whole.token_ids[:length]
        assert text.finish_reason == ("length" if end is None else "end")
    assert pretrained.tokenizer.eos_token_id == 256
    # A model that always ends at once writes nothing: its special token is no text.
    with torch.no_grad():
        pretrained.model.encoder.final_norm.weight.zero_()
        pretrained.model.encoder.final_norm.bias.copy_(pretrained.model.encoder.embeddings.word.weight[256] * 100)
    [[text]] = generate("The whale", model=pretrained)
    assert (text.text, text.token_ids, text.finish_reason) == ("", [256], "end")


def test_an_empty_prompt_begins_where_texts_begin(gpt, tmp_path):
    [[empty], [begun]] = generate(["", END], model=gpt, max_new_tokens=9)
    assert empty.token_ids == begun.token_ids
    bert = save_tiny_bert(tmp_path / "bert")
    folder = save_tiny_gpt(tmp_path / "no-end")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((bert / name).read_bytes())
    with pytest.raises(CheckpointError, match="prompt 1 is empty, and the tokenizer has no token that begins texts"):
        generate("", model=folder)


def test_it_stops_at_the_last_position_and_says_so(gpt):
    prompts = ["x" * 55, "y"]
    [[long], [short]] = generate(prompts, model=gpt, max_new_tokens=20)
    assert (len(long.token_ids), long.finish_reason) == (5, "positions")
    assert (len(short.token_ids), short.finish_reason) == (20, "length")
    with pytest.raises(DataError, match="prompt 2 has 60 tokens, and the model has 60 positions for prompt and text"):
        generate(["x", "x" * 60], model=gpt)


class TestCommand:
    def test_text_goes_on_behind_the_prompt(self, gpt, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "20")
        arguments = ("The [whale]", "It", "--model", gpt, "--temperature", 0.8, "--top-k", 40, "--top-p", 0.95)
        copies = ("--seed", 5, "--num-return-sequences", 2, "--max-new-tokens", 30)
        assert unmask("generate", *arguments, *copies) == 0
        out = capsys.readouterr().out
        settings = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "seed": 5}
        texts = generate(["The [whale]", "It"], model=gpt, **settings, num_return_sequences=2, max_new_tokens=30)
        assert [len(copies) for copies in texts] == [2, 2]
        flat = [text for copies in texts for text in copies]
        assert out == "\n".join(f"{text.prompt}{text.text}\n" for text in flat)
        assert unmask("generate", *arguments, *copies, "--json") == 0
        assert json.loads(capsys.readouterr().out) == [[asdict(text) for text in copies] for copies in texts]

    def test_no_prompt_is_an_empty_one(self, gpt, capsys):
        assert unmask("generate", "--model", gpt, "--max-new-tokens", 7, "--json") == 0
        [[text]] = json.loads(capsys.readouterr().out)
        assert (text["prompt"], len(text["token_ids"])) == ("", 7)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--max-new-tokens", 0), "max_new_tokens is 0: it must be 1 or more"),
            (("--num-return-sequences", 0), "num_return_sequences is 0: it must be 1 or more"),
            (("--num-return-sequences", 2), "without chance all would be the same: set temperature, top_k or top_p"),
            (("--temperature", 0), "temperature is 0.0: it must be more than 0"),
            (("--top-p", 2), "top_p is 2.0"),
        ],
    )
    def test_settings_that_make_no_sense(self, gpt, capsys, arguments, message):
        assert unmask("generate", "x", "--model", gpt, *arguments) == 2
        assert message in capsys.readouterr().err

    def test_a_model_that_cannot_write(self, tmp_path, capsys, gpt):
        save_tiny_bert(tmp_path / "bert")
        assert unmask("generate", "x", "--model", tmp_path / "bert") == 3
        assert "a bert model cannot generate text, as a GPT does; it can fill masks" in capsys.readouterr().err
        with pytest.raises(CheckpointError, match='load it with head="causal-lm" to generate'):
            generate("x", model=load(gpt, head="encoder"))
        with pytest.raises(SettingsError, match="top_k is 0"):
            generate("x", model=gpt, top_k=0)
