"""Static and contextual vectors, and ELECTRA's verdict. Run: pytest tests/test_inspection_words.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tiny import SIZES, VOCABULARY, save_tiny_bert
from unmask.errors import CheckpointError, DataError, SettingsError
from unmask.models.electra import ElectraConfig
from unmask.models.registry import build_model
from unmask.tokenization import Tokenizer
from unmask.workflows.inspect import inspect_nearest, inspect_replaced, inspect_tokens, inspect_word
from unmask.workflows.loading import save_pretrained

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with bert/ and electra/, a random discriminator whose embeddings are narrower than its layers."""
    place = tmp_path_factory.mktemp("place")
    save_tiny_bert(place / "bert", "masked-lm", initializer_range=0.3)
    config = ElectraConfig(**SIZES, embedding_size=8, initializer_range=0.3)
    tokenizer = Tokenizer.from_vocab(place / "bert-vocab.txt")
    save_pretrained(build_model(config, "replaced-token", seed=2), tokenizer, place / "electra")
    return place


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def table_of(place: Path, name: str = "BertModel") -> np.ndarray:
    import transformers

    model = getattr(transformers, name).from_pretrained(place)
    return model.get_input_embeddings().weight.detach().double().numpy()


class TestNearest:
    @pytest.mark.parametrize(("word", "pieces"), [("dog", ["dog"]), ("dogs", ["dog", "##s"])])
    def test_every_cosine_by_hand(self, place, word, pieces):
        table = table_of(place / "bert")
        ids = [VOCABULARY.index(piece) for piece in pieces]
        query = table[ids].mean(0)
        others = [i for i in range(5, len(VOCABULARY)) if i not in ids]
        expected = sorted(others, key=lambda i: -cosine(table[i], query))
        found = inspect_nearest(place / "bert", word, top_k=12)
        assert found.tokens == tuple(pieces)
        assert found.norm == pytest.approx(np.linalg.norm(query), rel=1e-5)
        assert [near.token_id for near in found.nearest] == expected[:12]
        for near in found.nearest:
            assert near.token == VOCABULARY[near.token_id]
            assert near.cosine == pytest.approx(cosine(table[near.token_id], query), abs=1e-5)

    def test_each_token_of_a_text(self, place):
        found = inspect_tokens(place / "bert", "the dogs sleep.", top_k=4)
        assert [word.word for word in found] == ["the", "dog", "##s", "sleep", "."]
        assert found[3].nearest == inspect_nearest(place / "bert", "sleep", top_k=4).nearest

    def test_words_of_the_pretrained_one(self, minilm):
        nearest = [near.token for near in inspect_nearest(minilm, "dog", top_k=3).nearest]
        assert nearest[0] == "dogs"
        assert "puppy" in nearest

    @pytest.mark.parametrize(
        ("word", "top_k", "error", "message"),
        [
            (" ", 3, DataError, "the word is empty"),
            ("zebra", 3, DataError, "'zebra' is unknown to the vocabulary"),
            ("dog", 0, SettingsError, "top_k is 0: it must lie between 1 and"),
            ("dog", 1000, SettingsError, "top_k is 1000"),
        ],
    )
    def test_what_has_no_neighbours(self, place, word, top_k, error, message):
        with pytest.raises(error, match=message):
            inspect_nearest(place / "bert", word, top_k=top_k)


class TestWord:
    FIRST, SECOND = "the dogs sleep near this house.", "a queen was not in the river with those dogs"

    @pytest.mark.parametrize(("name", "model"), [("bert", "BertModel"), ("electra", "ElectraModel")])
    def test_cosines_of_transformers_hidden_states(self, place, name, model):
        import transformers

        reference = getattr(transformers, model).from_pretrained(place / name).eval()
        second = self.SECOND.replace("with", "in")
        tokenizer = Tokenizer.from_folder(place / name)
        encodings = [tokenizer.encode(text) for text in (self.FIRST, second)]
        places = [[2, 3], [encodings[1].tokens.index("dog"), encodings[1].tokens.index("##s")]]
        states = []
        for encoding in encodings:
            with torch.no_grad():
                given = reference(torch.tensor([encoding.input_ids]), output_hidden_states=True).hidden_states
            states.append([state[0].double().numpy() for state in given])
        if name == "electra":  # transformers' first hidden states stand before the projection there, or after it
            with torch.no_grad():
                embedded = [reference.embeddings(torch.tensor([e.input_ids])) for e in encodings]
                for own, vectors in zip(states, embedded, strict=True):
                    own[0] = reference.embeddings_project(vectors)[0].double().numpy()
        static = torch.from_numpy(table_of(place / name, model)).float()[
            [VOCABULARY.index("dog"), VOCABULARY.index("##s")]
        ]
        static = static.mean(0)
        if name == "electra":
            with torch.no_grad():
                static = reference.embeddings_project(static)
        static = static.double().numpy()
        found = inspect_word(place / name, "Dogs", self.FIRST, second)
        assert [found.first_tokens, found.second_tokens] == [("dog", "##s")] * 2
        assert [layer.layer for layer in found.layers] == [0, 1, 2]
        for layer, one, two in zip(found.layers, *states, strict=True):
            first, second_vector = one[places[0]].mean(0), two[places[1]].mean(0)
            assert layer.between == pytest.approx(cosine(first, second_vector), abs=1e-4)
            assert layer.first_to_static == pytest.approx(cosine(first, static), abs=1e-4)
            assert layer.second_to_static == pytest.approx(cosine(second_vector, static), abs=1e-4)
            usual = [
                cosine(one[i], two[j])
                for i in range(1, len(one) - 1)
                for j in range(1, len(two) - 1)
                if i not in places[0] and j not in places[1]
            ]
            assert layer.other_words == pytest.approx(np.mean(usual), abs=1e-4)

    def test_a_word_by_itself_comes_before_one_inside_another(self, place):
        found = inspect_word(place / "bert", "sing", "a singer can sing", "sing the dog")
        assert found.first_tokens == found.second_tokens == ("sing",)
        inside = inspect_word(place / "bert", "sing", "a singer was near", "sing the dog")
        assert inside.first_tokens == ("singer",)

    def test_one_sentence_twice_has_the_same_vector(self, place):
        found = inspect_word(place / "bert", "dogs", self.FIRST, self.FIRST)
        assert [layer.between for layer in found.layers] == pytest.approx([1] * 3)

    @pytest.mark.parametrize(
        ("word", "second", "message"),
        [
            ("cat", "the dogs", "'cat' does not occur in 'the dogs sleep near this house.'"),
            ("dogs", "dogs", "'dogs' holds this word alone"),
            (" ", "the dogs", "does not occur"),
        ],
    )
    def test_sentences_without_the_word(self, place, word, second, message):
        with pytest.raises(DataError, match=message):
            inspect_word(place / "bert", word, self.FIRST, second)


class TestReplaced:
    def test_probabilities_of_transformers(self, place):
        import transformers

        texts = ("The dogs sleep near this house.", "a river was not queen")
        reference = transformers.ElectraForPreTraining.from_pretrained(place / "electra").eval()
        tokenizer = Tokenizer.from_folder(place / "electra")
        found = inspect_replaced(place / "electra", *texts)
        for text, verdicts in zip(texts, found, strict=True):
            encoding = tokenizer.encode(text)
            with torch.no_grad():
                expected = reference(torch.tensor([encoding.input_ids])).logits[0].sigmoid().tolist()[1:-1]
            assert [token.probability for token in verdicts.tokens] == pytest.approx(expected, abs=1e-5)
            assert [token.token for token in verdicts.tokens] == encoding.tokens[1:-1]
            assert verdicts.tokens[0].is_replaced == (expected[0] > 0.5)
            assert text[verdicts.tokens[1].start : verdicts.tokens[1].end] == text.split()[1].removesuffix("s")
            assert verdicts.to_dict()["tokens"][0]["is_replaced"] == verdicts.tokens[0].is_replaced

    def test_other_models_have_no_verdict(self, place):
        with pytest.raises(CheckpointError, match=r"bert: this model tells no replaced tokens"):
            inspect_replaced(place / "bert", "a dog")
        with pytest.raises(DataError, match="no text"):
            inspect_replaced(place / "electra")
