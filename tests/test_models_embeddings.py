"""Embeddings: sums by hand, and training on the rows of a few words as if it were on the whole table.

Run: .venv/bin/python -m pytest tests/test_models_embeddings.py
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference import padded, ragged
from unmask.models.embeddings import Embeddings, WordEmbedding
from unmask.models.layouts import layout_of
from unmask.packing import pack

VOCAB_SIZE, EMBEDDING_SIZE = 53, 7
SEEN = torch.tensor([[3, 41, 3], [52, 0, 17]])  # with a repeat, the first word and the last
ALL = torch.arange(VOCAB_SIZE)


def word_embedding(seed: int = 0) -> WordEmbedding:
    embedding = WordEmbedding(VOCAB_SIZE, EMBEDDING_SIZE)
    nn.init.normal_(embedding.weight, generator=torch.Generator().manual_seed(seed))
    return embedding


class Trained:
    """A word embedding with a linear layer on it, in training."""

    def __init__(self, *, is_restricted: bool, seed: int = 0) -> None:
        self.embedding = word_embedding(seed)
        if is_restricted:
            self.embedding.restrict(SEEN)
        torch.manual_seed(seed)
        self.model = nn.ModuleList([self.embedding, nn.Linear(EMBEDDING_SIZE, 1)])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), weight_decay=0.1)

    def train(self, steps: range) -> None:
        self.model.train()
        for step in steps:
            words = SEEN.flatten()[[step % 6, (step * step) % 6, (step + 2) % 6]]  # not every word at every step
            targets = torch.tensor([[1.0], [-2.0], [0.5]]) * (step + 1)
            loss = F.mse_loss(self.model[1](self.embedding(words)), targets)
            learning_rate = 0.01 / (step + 1)
            self.optimizer.param_groups[0]["lr"] = learning_rate
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.embedding.after_update(decay=1 - learning_rate * 0.1)

    def evaluate(self) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            return self.embedding(ALL)


def test_restricting_and_releasing_gives_back_every_bit() -> None:
    embedding = word_embedding()
    before = embedding.weight.detach().clone()
    embedding.restrict(SEEN)
    assert embedding.weight.shape == (5, EMBEDDING_SIZE)
    assert [name for name, _ in embedding.named_parameters()] == ["weight"]
    assert torch.equal(embedding.eval()(ALL), before)
    assert torch.equal(embedding.train()(SEEN), before[SEEN])
    embedding.release()
    assert torch.equal(embedding.weight, before)
    assert embedding.weight.requires_grad
    assert embedding.state_dict().keys() == {"weight"}


def test_training_a_few_rows_is_training_the_table() -> None:
    whole, restricted = Trained(is_restricted=False), Trained(is_restricted=True)
    start = whole.evaluate()
    for steps in (range(4), range(4, 10)):
        whole.train(steps)
        restricted.train(steps)
        torch.testing.assert_close(restricted.evaluate(), whole.evaluate(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(restricted.model[1].weight, whole.model[1].weight, rtol=1e-6, atol=1e-6)
    unseen = [word for word in range(VOCAB_SIZE) if word not in SEEN]
    assert (whole.evaluate() - start)[unseen].abs().max() > 1e-3  # weight decay alone moves them this much
    restricted.embedding.release()
    torch.testing.assert_close(restricted.embedding.weight, whole.embedding.weight, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(restricted.embedding.weight, restricted.evaluate(), rtol=0, atol=0)


def test_no_gradient_is_made_for_words_that_training_cannot_meet() -> None:
    trained = Trained(is_restricted=True)
    trained.train(range(1))
    assert trained.embedding.weight.grad.shape == (5, EMBEDDING_SIZE)
    with pytest.raises(IndexError):
        trained.embedding.train()(torch.tensor([1]))


def test_the_state_of_a_restricted_embedding_is_saved_and_loaded_whole() -> None:
    saved = Trained(is_restricted=True)
    saved.train(range(3))
    state = {name: tensor.clone() for name, tensor in saved.embedding.state_dict().items()}
    assert state.keys() == {"weight", "unseen", "unseen_decay"}
    assert state["unseen_decay"].dtype == torch.float64
    loaded = Trained(is_restricted=True, seed=9)
    loaded.embedding.load_state_dict(state)
    assert torch.equal(loaded.evaluate(), saved.evaluate())
    saved.embedding.release()
    loaded.embedding.release()
    assert torch.equal(loaded.embedding.weight, saved.embedding.weight)


def test_restricting_again_starts_from_the_whole_table() -> None:
    embedding = word_embedding()
    before = embedding.weight.detach().clone()
    embedding.restrict(SEEN)
    embedding.restrict(torch.tensor([1, 50]))
    assert embedding.weight.shape == (2, EMBEDDING_SIZE)
    assert torch.equal(embedding.eval()(ALL), before)
    embedding.release()
    assert torch.equal(embedding.weight, before)


def test_restricting_to_every_word_changes_nothing() -> None:
    embedding = word_embedding()
    weight = embedding.weight
    embedding.restrict(ALL.flip(0))
    embedding.after_update(decay=0.5)
    embedding.release()
    assert embedding.weight is weight
    assert embedding.unseen is None
    assert torch.equal(embedding(ALL), weight)


def embeddings(**changes: object) -> Embeddings:
    sizes = {"vocab_size": 5, "embedding_size": 2, "max_position_embeddings": 7, "type_vocab_size": 2}
    made = Embeddings(**{**sizes, "layer_norm_eps": None, "hidden_dropout_prob": 0.0, **changes})
    with torch.no_grad():  # a word is 1s, a position 10s, a token type 1000s
        made.word.weight.copy_(torch.arange(10.0).view(5, 2))
        made.position.weight.copy_(torch.arange(14.0).view(7, 2) * 10)
        if made.token_type is not None:
            types = torch.tensor([[0.0, 1000], [2000, 3000]]) if len(made.token_type.weight) == 2 else [[100.0, 200]]
            made.token_type.weight.copy_(torch.as_tensor(types))
    return made


BATCH = pack([[4, 1], [2]], [[0, 1], [1]])


def test_a_sum_by_hand() -> None:
    embedded = embeddings()(BATCH, layout_of(BATCH, training=True))
    assert embedded.tolist() == [[8 + 0 + 0, 9 + 10 + 1000], [2 + 20 + 2000, 3 + 30 + 3000], [4 + 2000, 5 + 10 + 3000]]
    rectangle = padded(BATCH)
    in_box = embeddings()(rectangle, layout_of(rectangle, training=True))
    assert torch.equal(in_box[rectangle.attention_mask.bool()], embedded)


def test_positions_can_start_later() -> None:
    made = embeddings(position_offset=3, type_vocab_size=0)
    assert made.token_type is None
    assert made.max_seq_length == 4
    embedded = made(BATCH, layout_of(BATCH, training=False))
    assert embedded.tolist() == [[8 + 60, 9 + 70], [2 + 80, 3 + 90], [4 + 60, 5 + 70]]


def test_a_family_with_one_token_type_ignores_those_of_the_batch() -> None:
    made = embeddings(type_vocab_size=1)
    embedded = made(BATCH, layout_of(BATCH, training=True))
    assert embedded.tolist() == [[8 + 0 + 100, 9 + 10 + 200], [2 + 20 + 100, 3 + 30 + 200], [4 + 100, 5 + 10 + 200]]
    embedded.sum().backward()
    assert made.token_type.weight.grad.tolist() == [[3, 3]]


def test_the_norm_comes_last_and_may_be_left_out() -> None:
    made = embeddings(layer_norm_eps=0.01)
    nn.init.normal_(made.norm.weight)
    nn.init.normal_(made.norm.bias)
    summed = embeddings()(BATCH, layout_of(BATCH, training=False))
    expected = F.layer_norm(summed, (2,), made.norm.weight, made.norm.bias, eps=0.01)
    torch.testing.assert_close(made(BATCH, layout_of(BATCH, training=False)), expected)
    assert embeddings().norm is None


def test_dropout_is_of_training_only() -> None:
    batch = ragged([5, 3], vocab_size=5, seeds=True)
    made = embeddings(hidden_dropout_prob=0.5)
    kept = made.eval()(batch, layout_of(batch, training=True))
    dropped = made.train()(batch, layout_of(batch, training=True))
    assert torch.equal(kept, embeddings()(batch, layout_of(batch, training=True)))
    assert torch.equal(dropped, layout_of(batch, training=True).dropout(kept, 0.5))
    assert (dropped == 0).sum() > (kept == 0).sum()
