"""Numbers, storages, tuples and empty tensors where a tensor is the rule."""

import pytest

import flambeau as torch


def test_copy_takes_a_number():
    x = torch.ones(2, 3)
    assert x.copy_(2.5).tolist() == [[2.5] * 3] * 2
    assert torch.ones(2, dtype=torch.int64).copy_(True).tolist() == [1, 1]
    with pytest.raises(TypeError, match="must be Tensor"):
        x.copy_("2")


@pytest.mark.parametrize("dtype", [torch.float64, torch.int16, torch.bfloat16, torch.bool])
def test_a_tensor_of_the_elements_of_a_storage(dtype):
    x = torch.tensor([1, 0, 3], dtype=dtype)
    for storage in (x.untyped_storage(), x.storage()):
        y = torch.tensor(storage, dtype=dtype)
        assert y.equal(x) and y.dtype is dtype and y.data_ptr() != x.data_ptr()
    assert torch.tensor(x.storage()).equal(x)


def test_new_takes_tuples_as_data_and_sizes_as_sizes():
    x = torch.empty(0)
    assert x.new((3, 4)).tolist() == x.new([3, 4]).tolist() == [3.0, 4.0]
    assert x.new(torch.Size((3, 4))).shape == x.new(3, 4).shape == (3, 4)
    assert x.new(()).shape == x.new().shape == (0,) and x.new(size=(3, 4)).shape == (3, 4)


def test_masked_scatter_of_nothing():
    x, mask = torch.ones(0, 3), torch.ones(0, 3, dtype=torch.bool)
    assert x.masked_scatter(mask, torch.ones(0)).shape == (0, 3)
    assert x.masked_scatter_(mask, torch.ones(4)).shape == (0, 3)


def test_empty_in_the_layout_of_volumes():
    x = torch.empty((2, 3, 5, 7, 8), memory_format=torch.channels_last_3d)
    assert x.stride() == (840, 1, 168, 24, 3) and x.dim_order() == (0, 2, 3, 4, 1)


def test_slices_are_of_integers():
    x = torch.ones(3)
    for key in (slice(0.0, 2.0), slice("a", None), slice(None, None, 1.0)):
        with pytest.raises(TypeError, match="slice indices must be integers"):
            x[key]
        with pytest.raises(TypeError, match="slice indices must be integers"):
            x[key] = 1


def test_map_broadcasts_to_the_tensor_only():
    x = torch.ones(2, 3)
    assert x.map_(torch.tensor([1.0, 2.0, 3.0]), lambda a, b: a + b).tolist() == [[2.0, 3.0, 4.0]] * 2
    with pytest.raises(RuntimeError):
        torch.ones(3).map_(torch.ones(2, 3), lambda a, b: a)
