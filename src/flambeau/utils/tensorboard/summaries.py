"""The records that TensorBoard reads, made from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

from ...core.tensor import Tensor
from .arrays import as_array, as_bytes, png, wav


def _metadata(plugin: str, content: bytes = b"") -> Any:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin, content=content))


def _shape(*sizes: int) -> Any:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in sizes])


def _one(**fields: Any) -> Any:
    return Summary(value=[Summary.Value(**fields)])


def scalar(tag: str, value: Any, new_style: bool = False, double_precision: bool = False) -> Any:
    """A number.

    Raises: AssertionError for more than one; NotImplementedError for lists, as for other things that are no number.
    """
    if isinstance(value, (list, tuple)):
        raise NotImplementedError(f"Got {type(value)}, but numpy array or torch tensor are expected.")
    array = as_array(value)
    if array.size != 1:
        raise AssertionError(
            f"Tensor should contain one element (0 dimensions). Was given size: {array.size}"
        )
    number = float(array.reshape(()))
    if not new_style:
        return _one(tag=tag, simple_value=number)
    if double_precision:
        data = TensorProto(double_val=[number], dtype="DT_DOUBLE")
    else:
        data = TensorProto(float_val=[number], dtype="DT_FLOAT")
    return _one(tag=tag, tensor=data, metadata=_metadata("scalars"))


def tensor(tag: str, value: Any) -> Any:
    """A tensor of a real dtype.

    Raises: ValueError for dtypes that have no place there.
    """
    array = as_array(value)
    kinds = {
        "f4": "DT_FLOAT",
        "f8": "DT_DOUBLE",
        "i4": "DT_INT32",
        "i8": "DT_INT64",
        "u1": "DT_UINT8",
        "b1": "DT_BOOL",
    }
    kind = kinds.get(array.dtype.str[1:])
    if kind is None:
        raise ValueError(f"tensors of dtype {array.dtype} cannot be logged")
    data = TensorProto(dtype=kind, tensor_shape=_shape(*array.shape), tensor_content=array.tobytes())
    return _one(tag=tag, tensor=data, metadata=_metadata("tensor"))


def _tensorflow_bins() -> list[float]:
    """Edges that grow by a tenth from 1e-12 to 1e20, on both sides of zero."""
    edges = []
    v = 1e-12
    while v < 1e20:
        edges.append(v)
        v *= 1.1
    return [-e for e in reversed(edges)] + [0.0] + edges


_BINS = _tensorflow_bins()


def histogram(tag: str, values: Any, bins: Any = "tensorflow", max_bins: int | None = None) -> Any:
    """Counts of values in bins; `bins` as for NumPy, or "tensorflow".

    Raises: ValueError when there are no values.
    """
    values = as_array(values).reshape(-1).astype(np.float64)
    if values.size == 0:
        raise ValueError("The input has no element.")
    counts, limits = np.histogram(
        values, bins=_BINS if isinstance(bins, str) and bins == "tensorflow" else bins
    )
    if max_bins is not None and len(counts) > max_bins:
        together = len(counts) // max_bins
        at = np.arange(0, len(counts), together)
        counts, limits = np.add.reduceat(counts, at), np.append(limits[:-1][at], limits[-1])
    filled = np.flatnonzero(counts)
    if not filled.size:
        raise ValueError("The histogram is empty: no value lies in the bins.")
    first, last = filled[0], filled[-1]
    # bucket_limit are right edges: an empty bucket in front says where the first filled one begins
    counts = np.concatenate([[0], counts[first : last + 1]])
    return histogram_raw(
        tag,
        values.min(),
        values.max(),
        values.size,
        values.sum(),
        values.dot(values),
        limits[first : last + 2],
        counts,
    )


def histogram_raw(
    tag: str, low: Any, high: Any, num: Any, total: Any, squares: Any, limits: Any, counts: Any
) -> Any:
    """Counts that the user has made."""
    made = HistogramProto(
        min=float(low),
        max=float(high),
        num=float(num),
        sum=float(total),
        sum_squares=float(squares),
        bucket_limit=[float(v) for v in limits],
        bucket=[float(v) for v in counts],
    )
    return _one(tag=tag, histo=made)


def image(tag: str, picture: Any) -> Any:
    """A picture (H, W, C)."""
    height, width, channels = picture.shape
    data = Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=png(as_bytes(picture))
    )
    return _one(tag=tag, image=data)


def audio(tag: str, sound: Any, sample_rate: int) -> Any:
    """A sound: one number for each sample, between -1 and 1.

    Raises: AssertionError for more than one dim.
    """
    array = as_array(sound).squeeze()
    if array.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    data = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=array.size,
        encoded_audio_string=wav(array, sample_rate),
        content_type="audio/wav",
    )
    return _one(tag=tag, audio=data)


def text(tag: str, value: str) -> Any:
    """A text, shown as Markdown."""
    from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

    data = TensorProto(dtype="DT_STRING", string_val=[value.encode()], tensor_shape=_shape(1))
    metadata = _metadata("text", TextPluginData(version=0).SerializeToString())
    return _one(tag=tag + "/text_summary", tensor=data, metadata=metadata)


def pr_curve(tag: str, labels: Any, predictions: Any, thresholds: int = 127, weights: Any = None) -> Any:
    """Precision and recall of predicted probabilities at evenly spaced thresholds."""
    thresholds = min(thresholds, 127)  # TensorBoard shows no more
    labels, predictions = (as_array(v).reshape(-1).astype(np.float64) for v in (labels, predictions))
    weights = np.ones_like(labels) if weights is None else np.broadcast_to(as_array(weights), labels.shape)
    at = np.floor(predictions * (thresholds - 1)).astype(np.int64)
    inside = (at >= 0) & (at < thresholds)

    def above(w: Any) -> Any:
        """For each threshold, the weight of predictions not below it."""
        return np.bincount(at[inside], w[inside], thresholds)[::-1].cumsum()[::-1]

    tp, fp = above(labels * weights), above((1 - labels) * weights)
    tn, fn = fp[0] - fp, tp[0] - tp
    precision = tp / np.maximum(1e-7, tp + fp)
    recall = tp / np.maximum(1e-7, tp + fn)
    return pr_curve_raw(tag, np.stack([tp, fp, tn, fn, precision, recall]))


def pr_curve_raw(tag: str, rows: Any) -> Any:
    """The rows true positives, false positives, true negatives, false negatives, precision and recall."""
    from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

    n = rows.shape[1]
    metadata = _metadata("pr_curves", PrCurvePluginData(version=0, num_thresholds=n).SerializeToString())
    data = TensorProto(
        dtype="DT_FLOAT", float_val=rows.reshape(-1).tolist(), tensor_shape=_shape(*rows.shape)
    )
    return _one(tag=tag, tensor=data, metadata=metadata)


def hparams(
    values: Mapping[str, Any], metrics: Mapping[str, Any], domains: Mapping[str, Sequence[Any]]
) -> list[Any]:
    """What a run was made with: the records of the experiment, of its start and of its end.

    Raises: ValueError for values that are not numbers, strings or bools; TypeError for a domain that is no list of
    values of one type.
    """
    from google.protobuf.struct_pb2 import ListValue
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import (
        DataType,
        Experiment,
        HParamInfo,
        MetricInfo,
        MetricName,
        Status,
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,
        SessionEndInfo,
        SessionStartInfo,
    )

    start = SessionStartInfo()
    infos = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, bool):
            start.hparams[name].bool_value, kind = value, "DATA_TYPE_BOOL"
        elif isinstance(value, str):
            start.hparams[name].string_value, kind = value, "DATA_TYPE_STRING"
        elif isinstance(value, (int, float, np.number)) and not isinstance(value, complex):
            start.hparams[name].number_value, kind = float(value), "DATA_TYPE_FLOAT64"
        else:
            raise ValueError(
                f"value of {name} should be one of int, float, str, bool, or torch.Tensor, not {value!r}"
            )
        allowed = None
        if name in domains:
            options = domains[name]
            if not all(isinstance(option, type(value)) for option in options):
                raise TypeError(f"the domain of {name} is not of the type {type(value).__name__}: {options}")
            allowed = ListValue()
            allowed.extend(list(options))
        infos.append(HParamInfo(name=name, type=DataType.Value(kind), domain_discrete=allowed))
    measured = [MetricInfo(name=MetricName(tag=name)) for name in metrics]

    def record(tag: str, **content: Any) -> Any:
        data = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
        return _one(tag=tag, metadata=_metadata(metadata.PLUGIN_NAME, data.SerializeToString()))

    experiment = Experiment(hparam_infos=infos, metric_infos=measured)
    end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
    return [
        record(metadata.EXPERIMENT_TAG, experiment=experiment),
        record(metadata.SESSION_START_INFO_TAG, session_start_info=start),
        record(metadata.SESSION_END_INFO_TAG, session_end_info=end),
    ]


def custom_scalars(layout: Mapping[str, Mapping[str, Sequence[Any]]]) -> Any:
    """Charts of several scalars: {category: {chart: ["Multiline" or "Margin", [tags]]}}."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    categories = []
    for category, charts in layout.items():
        made = []
        for title, (kind, tags) in charts.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise AssertionError(
                        f"a margin chart has three tags (value, lower, upper), not {len(tags)}"
                    )
                series = layout_pb2.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
                made.append(
                    layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))
                )
            else:
                made.append(
                    layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=list(tags)))
                )
        categories.append(layout_pb2.Category(title=category, chart=made))
    data = TensorProto(
        dtype="DT_STRING",
        string_val=[layout_pb2.Layout(category=categories).SerializeToString()],
        tensor_shape=TensorShapeProto(),
    )
    return _one(tag="custom_scalars__config__", tensor=data, metadata=_metadata("custom_scalars"))
