"""Settings, schedules and the order of samples: pure functions. Run: pytest tests/test_training_settings.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from unmask.errors import SettingsError
from unmask.training import TrainingSettings, learning_rate_factor
from unmask.training.order import micro_batches, sample_order, step_samples, torch_seed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed is -1: it must be a whole number, 0 or more"),
        ({"epochs": 0}, "epochs is 0: it must be 1 or more"),
        ({"max_steps": 0}, "max_steps is 0: it must be 1 or more, or None"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be positive and finite"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: it must be positive and finite"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1: it must be 0 or more"),
        ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\): it must be two numbers in \[0, 1\)"),
        ({"eps": 0.0}, "eps is 0.0: it must be positive"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0.0: it must be positive"),
        ({"schedule": "cubic"}, "schedule is 'cubic': it must be one of linear, cosine, constant"),
        ({"precision": "fp16"}, "precision is 'fp16': it must be one of fp32, bf16"),
        ({"warmup_ratio": 6.0}, r"warmup_ratio is 6.0: it must be in \[0, 1\]"),
        ({"warmup_steps": -3}, "warmup_steps is -3: it must be 0 or more"),
        ({"warmup_steps": 3, "warmup_ratio": 0.1}, "warmup_steps is 3 and warmup_ratio is 0.1: give one of the two"),
        ({"micro_batch_size": 64}, "micro_batch_size is 64: it must not exceed global_batch_size, 32"),
        ({"early_stopping_patience": 0}, "early_stopping_patience is 0: it must be 1 or more, or None"),
    ],
)
def test_a_bad_setting_is_refused_with_its_value_and_the_rule(changes, message):
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(**changes)


def test_a_loss_is_better_when_smaller():
    assert TrainingSettings(metric_for_best="mcc").greater_is_better
    assert not TrainingSettings(metric_for_best="loss").greater_is_better
    assert not TrainingSettings(metric_for_best="perplexity").greater_is_better


def test_a_warmup_ratio_is_rounded_up_to_steps():
    assert TrainingSettings(warmup_ratio=0.06).num_warmup_steps(964) == 58  # 57.84
    assert TrainingSettings(warmup_steps=7).num_warmup_steps(964) == 7
    assert TrainingSettings().num_warmup_steps(964) == 0


@pytest.mark.parametrize("warmup_steps", [0, 5, 23, 29])
@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ("linear", lambda optimizer, warmup: get_linear_schedule_with_warmup(optimizer, warmup, 23)),
        ("cosine", lambda optimizer, warmup: get_cosine_schedule_with_warmup(optimizer, warmup, 23)),
        ("constant", get_constant_schedule_with_warmup),
    ],
)
def test_schedules_equal_those_of_transformers(schedule, reference, warmup_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    (theirs,) = reference(optimizer, warmup_steps).lr_lambdas
    for step in range(24):
        ours = learning_rate_factor(schedule, step, warmup_steps=warmup_steps, total_steps=23)
        assert ours == pytest.approx(theirs(step), abs=1e-15)


def test_an_epoch_is_a_permutation_of_its_own():
    first, second = (sample_order(101, seed=7, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(101))
    assert (first != second).any()
    assert (first != sample_order(101, seed=8, epoch=0)).any()
    np.testing.assert_array_equal(first, sample_order(101, seed=7, epoch=0))


def test_the_order_is_the_same_in_every_version():
    assert sample_order(11, seed=7, epoch=2).tolist() == [2, 3, 5, 4, 10, 6, 9, 0, 7, 1, 8]


def test_steps_cover_each_epoch_once_with_a_short_last_batch():
    batches = [step_samples(step, num_samples=11, global_batch_size=4, seed=7).tolist() for step in range(6)]
    assert [len(batch) for batch in batches] == [4, 4, 3, 4, 4, 3]
    assert batches[0] + batches[1] + batches[2] == sample_order(11, seed=7, epoch=0).tolist()
    assert batches[3] + batches[4] + batches[5] == sample_order(11, seed=7, epoch=1).tolist()


@pytest.mark.parametrize(
    ("num_samples", "world_size", "micro_batch_size", "shares"),
    [
        (5, 1, None, [[[10, 11, 12, 13, 14]]]),
        (5, 1, 2, [[[10, 11], [12, 13], [14]]]),
        (5, 2, 2, [[[10, 11], [12]], [[13, 14]]]),
        (1, 2, None, [[[10]], []]),
    ],
)
def test_a_global_batch_is_shared_by_ranks_and_cut_into_micro_batches(
    num_samples, world_size, micro_batch_size, shares
):
    samples = np.arange(10, 10 + num_samples)
    for rank, expected in enumerate(shares):
        runs = micro_batches(samples, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        assert [run.tolist() for run in runs] == expected


def test_each_step_and_rank_has_a_torch_seed_of_its_own():
    seeds = {torch_seed(seed=seed, step=step, rank=rank) for seed in (0, 1) for step in range(13) for rank in range(3)}
    assert len(seeds) == 2 * 13 * 3
