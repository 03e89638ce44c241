"""Guessing masked words with every family that can, and what a run shows of its model as it learns.

Run: .venv/bin/python -m pytest tests/test_workflows_fill.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tiny import unmask
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.models.registry import FAMILIES, FAMILY_NAMES, build_model
from unmask.packing import pack
from unmask.pretraining.objectives import GeneratorAndDiscriminator
from unmask.tokenization.readable import piece_text
from unmask.tokenization.training import train_on_texts
from unmask.workflows.fill import TextWithMasks, fill, guess_masks
from unmask.workflows.generate import generate
from unmask.workflows.loading import load, save_pretrained
from unmask.workflows.show import default_texts, make_show

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from unmask.tokenization import Tokenizer

SENTENCE = "The tiger slept near the garden, often."
TEXTS = [SENTENCE, "A tiger slept. The garden sleeps often, near a sleeping tiger's slippers."] * 3
MASKED = ("bert", "roberta", "albert", "electra")
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 43,
}


def tokenizer_for(family: str, **settings: Any) -> Tokenizer:
    settings = {"lowercase": False, "vocab_size": 331, "min_frequency": 1} | settings
    return train_on_texts(TEXTS, family=family, **settings)


def model_for(family: str, head: str, tokenizer: Tokenizer, **sizes: Any) -> nn.Module:
    model_type = FAMILY_NAMES[family]
    if family in ("albert", "electra"):
        sizes = {"embedding_size": 16} | sizes
    if family == "gpt":
        sizes = {"intermediate_size": 128} | sizes
    config = FAMILIES[model_type].config(**{"vocab_size": tokenizer.vocab_size} | SIZES | sizes)
    return build_model(config, head, seed=5).eval()


def learn_sentence(model: nn.Module, tokenizer: Tokenizer) -> None:
    """Learn one sentence by heart: guess each of its tokens in turn."""
    ids = tokenizer.encode(SENTENCE).input_ids
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    places = [[place] for place in range(1, len(ids) - 1)]
    masked = [[tokenizer.mask_token_id if at in place else i for at, i in enumerate(ids)] for place in places]
    rows = torch.tensor([number * len(ids) + place for number, [place] in enumerate(places)])
    for _ in range(40):
        output = model(pack(masked), rows)
        logits = output.prediction_logits if hasattr(output, "prediction_logits") else output.logits
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:-1])).backward()
        optimizer.step()


@pytest.fixture(scope="module", params=MASKED)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def learned(family, tmp_path_factory) -> Path:
    """A model of each family that knows one sentence."""
    folder = tmp_path_factory.mktemp(family)
    tokenizer = tokenizer_for(family)
    model = model_for(family, "pre-training" if family == "albert" else "masked-lm", tokenizer)
    learn_sentence(model, tokenizer)
    save_pretrained(model, tokenizer, folder / "model")
    return folder / "model"


def test_every_family_fills_a_mask_typed_either_way(learned, family):
    mask = load(learned).tokenizer.mask_token
    assert mask == ("<mask>" if family == "roberta" else "[MASK]")
    for typed in ("[MASK]", "<mask>"):
        text = SENTENCE.replace("garden", typed).replace("tiger", typed)
        first, second = fill(text, model=str(learned), top_k=2)
        assert [first[0].word, second[0].word] == ["tiger", "garden"]
        assert first[0].text == SENTENCE.replace("garden", typed)
        assert second[0].text == SENTENCE.replace("tiger", typed)
        marks = {"bert": "", "electra": "", "roberta": "Ġ", "albert": "▁"}
        assert first[0].token == marks[family] + "tiger"


@pytest.mark.parametrize(
    ("typed", "continued", "apart"),
    [
        ("slept[MASK] near", "sleptx near", "slept x near"),
        ("The [MASK]\tslept", "Thex\tslept", "The x\tslept"),
        ("[MASK] slept", "x slept", "x slept"),
        ("a “[MASK]”", "a “x”", "a “x”"),
    ],
)
def test_a_piece_joins_what_it_continues_and_a_word_stands_apart(family, typed, continued, apart):
    text = TextWithMasks.of(tokenizer_for(family), typed)
    assert text.fill_in(0, "x", starts_word=False) == continued
    assert text.fill_in(0, "x", starts_word=True) == apart


def test_what_a_piece_writes():
    for family, pieces in {
        "bert": {"tiger": "tiger", "##s": "s", ",": ",", "[SEP]": "[SEP]"},
        "roberta": {"Ġtiger": "tiger", "s": "s", "Ġ": "Ġ", "</s>": "</s>", "Ã": "\N{REPLACEMENT CHARACTER}"},
        "albert": {"▁tiger": "tiger", "s": "s", "▁": "▁", "[SEP]": "[SEP]"},
    }.items():
        tokenizer = tokenizer_for(family)
        ids = {piece: tokenizer.token_to_id(piece) for piece in pieces}
        assert {piece: piece_text(tokenizer, i) for piece, i in ids.items() if i is not None} == pieces
        assert piece_text(tokenizer, tokenizer.vocab_size) == ""


def test_hangul_behind_a_mask_and_before_it_keeps_its_place():
    tokenizer = train_on_texts(["그는 문을 열었다", "café"] * 3, family="roberta", vocab_size=331, min_frequency=1)
    text = TextWithMasks.of(tokenizer, "그는 [MASK] 열었다, [MASK]!")
    assert text.fill_in(0, "문을", starts_word=True) == "그는 문을 열었다, [MASK]!"
    assert text.fill_in(1, "문을", starts_word=True) == "그는 [MASK] 열었다, 문을!"


def test_a_row_of_the_embeddings_without_a_word_is_no_guess():
    tokenizer = tokenizer_for("bert")
    model = model_for("bert", "masked-lm", tokenizer, vocab_size=tokenizer.vocab_size + 7)
    with torch.no_grad():
        model.masked_lm.bias[-7:] = 1e3
    [[guesses]] = guess_masks(model, tokenizer, [TextWithMasks.of(tokenizer, "[MASK]")], top_k=3)
    assert all(guess.token for guess in guesses)


def test_an_electra_run_fills_with_its_generator(tmp_path, capsys):
    tokenizer = tokenizer_for("electra")
    generator = model_for("electra", "masked-lm", tokenizer)
    learn_sentence(generator, tokenizer)
    save_pretrained(model_for("electra", "replaced-token", tokenizer), tokenizer, tmp_path / "run" / "model")
    with pytest.raises(
        CheckpointError, match="it tells words that were replaced, so give the generator it was trained with"
    ):
        fill(SENTENCE, model=str(tmp_path / "run"))
    save_pretrained(generator, tokenizer, tmp_path / "run" / "generator")
    assert unmask("fill", "The [MASK] slept near the garden, often.", "--model", tmp_path / "run") == 0
    assert "The tiger slept near the garden, often." in capsys.readouterr().out


def test_a_causal_model_is_sent_to_generate(tmp_path):
    tokenizer = tokenizer_for("gpt")
    save_pretrained(model_for("gpt", "causal-lm", tokenizer), tokenizer, tmp_path / "gpt")
    with pytest.raises(CheckpointError, match=r"\(GPT2LMHeadModel\) has no masked LM head, .* unmask generate"):
        fill("The [MASK]", model=str(tmp_path / "gpt"))
    with pytest.raises(CheckpointError, match="the tokenizer has no mask token"):
        TextWithMasks.of(tokenizer, "The [MASK]")


@pytest.mark.usefixtures("wide")
def test_the_table_has_a_column_for_spellings_that_differ(learned, family, capsys):
    assert unmask("fill", SENTENCE.replace("tiger", "[MASK]"), "--model", learned) == 0
    out = capsys.readouterr().out
    assert SENTENCE in out
    assert (" token " in out) == (family in ("roberta", "albert") or "##" in out)


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


class TestShow:
    def test_fills_are_those_of_fill(self, learned, family):
        texts = (SENTENCE.replace("tiger", "[MASK]"), "The [MASK] slept near the [MASK].")
        loaded = load(learned)
        shown = make_show(loaded.tokenizer, texts, head=loaded.model.head)(loaded.model)
        expected = [guesses for text in texts for guesses in fill(text, model=str(learned), top_k=3)]
        assert [entry["prompt"] for entry in shown] == [texts[0], texts[1], texts[1]]
        assert {entry["kind"] for entry in shown} == {"fill"}
        for entry, guesses in zip(shown, expected, strict=True):
            assert [guess["token"] for guess in entry["guesses"]] == [guess.word for guess in guesses]
            assert [guess["text"] for guess in entry["guesses"]] == [guess.text for guess in guesses]
            found = [guess["probability"] for guess in entry["guesses"]]
            assert found == pytest.approx([guess.probability for guess in guesses], abs=1e-5)

    def test_a_causal_model_goes_on_as_generate_does(self, tmp_path):
        tokenizer = tokenizer_for("gpt")
        model = model_for("gpt", "causal-lm", tokenizer)
        save_pretrained(model, tokenizer, tmp_path / "gpt")
        shown = make_show(tokenizer, ["The tiger", "A [MASK] slept"], head="causal-lm")(model)
        assert [entry["prompt"] for entry in shown] == ["The tiger", "A"]
        written = generate(["The tiger", "A"], model=tmp_path / "gpt", max_new_tokens=20)
        assert [entry["guesses"] for entry in shown] == [
            [{"text": entry["prompt"] + continuation.text}]
            for entry, [continuation] in zip(shown, written, strict=True)
        ]

    def test_the_discriminator_judges_every_word(self):
        tokenizer = train_on_texts(["She opened the door and went green into the room."] * 3, vocab_size=300)
        generator = model_for("electra", "masked-lm", tokenizer)
        pair = GeneratorAndDiscriminator(generator, model_for("electra", "replaced-token", tokenizer)).eval()
        *fills, verdict = make_show(tokenizer, head="replaced-token")(pair)
        assert [entry["prompt"] for entry in fills] == list(default_texts("en", head="replaced-token"))
        assert verdict["prompt"] == "She opened the door and green into the room."
        words = [*verdict["prompt"].removesuffix(".").split(), "."]
        assert [guess["token"] for guess in verdict["guesses"]] == words
        assert [guess["token"] for guess in verdict["guesses"] if guess["text"] == "replaced"] == ["green"]
        encoded = tokenizer.encode(verdict["prompt"])
        logits = pair.discriminator(pack([encoded.input_ids])).logits
        expected = logits.sigmoid()[1:-1].tolist()
        assert [guess["probability"] for guess in verdict["guesses"]] == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("language", ["en", "ko"])
    @pytest.mark.parametrize(
        ("family", "head"), [("bert", "masked-lm"), ("roberta", "masked-lm"), ("gpt", "causal-lm")]
    )
    def test_each_language_has_sentences_that_every_family_takes(self, language, family, head):
        texts = [*TEXTS, *default_texts("ko", head="masked-lm")]
        tokenizer = train_on_texts(texts, family=family, vocab_size=400, min_frequency=1)
        model = model_for(family, head, tokenizer, max_position_embeddings=131)
        show = make_show(tokenizer, head=head, language=language)
        assert [entry["prompt"] for entry in show(model)] == list(default_texts(language, head=head))
        assert show(model) == show(model)

    def test_sentences_of_our_own_that_are_too_long_are_left_out_and_yours_are_an_error(self):
        tokenizer = tokenizer_for("bert")
        model = model_for("bert", "masked-lm", tokenizer)
        assert make_show(tokenizer, head="masked-lm", max_seq_length=5)(model) == []
        with pytest.raises(
            DataError, match=r"fill_texts, 'The tiger \[MASK\]': the text has 5 tokens, the model takes 4"
        ):
            make_show(tokenizer, ["The tiger [MASK]"], head="masked-lm", max_seq_length=4)
        with pytest.raises(DataError, match=r"fill_texts, 'The tiger': the text has no \[MASK\]"):
            make_show(tokenizer, ["The tiger"], head="masked-lm")
        with pytest.raises(DataError, match=r"fill_texts, '\[MASK\]': there is nothing before the mask to go on from"):
            make_show(tokenizer_for("gpt"), ["[MASK]"], head="causal-lm")
        with pytest.raises(SettingsError, match="a model with the head 'encoder' has nothing to show"):
            make_show(tokenizer, head="encoder")
