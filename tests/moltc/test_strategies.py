"""Options of several processes that are refused or filled in (what they compute: tests/distributed)."""

from __future__ import annotations

import pytest
from lightning.pytorch.strategies import (
    DDPStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
)

from moltc.strategies import ShardedStrategy, check_parallel, tell_of_unused_parameters


@pytest.mark.parametrize(
    ("strategy", "sync_batchnorm", "message"),
    [
        pytest.param("ddp", True, "leave sync_batchnorm out", id="batch-norm-twice"),
        pytest.param("fsdp", None, "strategy fsdp2", id="old-fsdp-by-name"),
        pytest.param(FSDPStrategy(), None, "strategy fsdp2", id="old-fsdp"),
        pytest.param(ModelParallelStrategy(), None, "strategy fsdp2", id="tensor-parallel"),
    ],
)
def test_options_that_would_not_be_honoured_are_refused(strategy, sync_batchnorm, message):
    with pytest.raises(ValueError, match=message):
        check_parallel(strategy, sync_batchnorm)


@pytest.mark.parametrize(
    "strategy",
    ["auto", "ddp", "fsdp2", ShardedStrategy(), DDPStrategy()],
    ids=["auto", "ddp", "fsdp2", "sharded", "data-parallel"],
)
def test_what_is_supported_passes(strategy):
    check_parallel(strategy, None)


@pytest.mark.parametrize(
    ("given", "some", "expected"),
    [({}, True, True), ({}, False, False), ({"find_unused_parameters": False}, True, False)],
    ids=["some-left-out", "all-used", "configured"],
)
def test_ddp_is_told_of_unused_parameters_unless_it_was_configured(given, some, expected):
    strategy = DDPStrategy(**given)
    tell_of_unused_parameters(strategy, some)
    assert strategy._ddp_kwargs["find_unused_parameters"] is expected


def test_one_process_has_nobody_to_tell():
    tell_of_unused_parameters(SingleDeviceStrategy("cpu"), True)
