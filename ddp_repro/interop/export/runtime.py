"""Predictions of an exported model by NumPy and onnxruntime alone.

Nothing of this package is imported here, so that this file works where it is copied to, beside the graphs::

    model = ExportedModel.load("exported/camvid_map")
    labels = model.predict(pixels, steps=3)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTS = "model.json"
Array = NDArray[Any]
Graph = Callable[..., Sequence[Array]]  # inputs in the order of model.json -> outputs

MIN_SIGMA = 1e-8
MIN_INVERSE_SNR = 1e-5
OFFSET_START, OFFSET_SCALE = 0.0002, 0.00025


class ExportedModel:
    """What ``ddp-repro export`` has written: graphs, and the sampling loop around them (Algorithm 2).

    Args:
        facts: the content of ``model.json``.
        graphs: a callable by the name of each graph, arrays in and arrays out, whatever runs it.

    Attributes:
        class_names, palette: of segmentation models; RGB.
    """

    def __init__(self, facts: Mapping[str, Any], graphs: Mapping[str, Graph]) -> None:
        self.facts, self.graphs = facts, graphs
        self.class_names: list[str] = facts["classes"]["names"]
        self.palette: list[list[int]] = facts["classes"]["palette"]

    @classmethod
    def load(cls, folder: Path | str, *, int8: bool = False, threads: int = 0) -> ExportedModel:
        """Open the ONNX graphs of a folder on the CPU.

        Args:
            int8: the quantised graphs, which ``export --int8`` writes.
            threads: of onnxruntime; 0: as many as there are cores.

        Raises:
            OSError: no such folder, or a file of it is missing.
            ValueError: it holds no ONNX graphs, or no quantised ones.
        """
        import onnxruntime

        folder = Path(folder)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts["format"] != "onnx":
            raise ValueError(f"{folder}: holds {facts['format']} graphs, which PyTorch runs; expected onnx")
        if int8 and not facts["int8"]:
            raise ValueError(f"{folder}: has no quantised graphs; export with --int8")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        graphs = {}
        for name, graph in facts["graphs"].items():
            path = folder / (graph["int8"] if int8 else graph["file"])
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing")
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            graphs[name] = _by_position(session, graph["inputs"])
        return cls(facts, graphs)

    def normalise(self, pictures: Array) -> Array:
        """Return RGB pictures uint8 (B, H, W, 3) as the network's input, float32 (B, 3, H, W).

        Raises:
            ValueError: another type or shape.
        """
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
            raise ValueError(f"pictures are uint8 (B, H, W, 3); got {pictures.dtype} {pictures.shape}")
        mean, std = (np.asarray(self.facts[key], np.float32) for key in ("mean", "std"))
        return np.ascontiguousarray(((pictures.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))

    def encode(self, images: Array) -> Array:
        """Return the image feature (B, D, h, w) of normalised images (B, 3, H, W)."""
        return self.graphs["encoder"](images)[0]

    def sample(
        self,
        images: Array | None = None,
        steps: int = 3,
        noise: Array | None = None,
        seed: int | np.random.Generator = 0,
        *,
        features: Array | None = None,
    ) -> Array:
        """Denoise a random map into the prediction, by DDIM with the model's time difference.

        A model that is one graph takes images alone, of multiples of ``facts["multiple"]`` pixels.

        Args:
            images: (B, 3, H, W), normalised; not looked at where their features are given.
            steps: passes of the decoder.
            noise: (B, M, h, w), float32; drawn where None.
            seed: of the noise that is drawn, or NumPy's generator.
            features: of :meth:`encode`, in place of images.

        Returns:
            (B, C, h, w): class scores (probabilities, where the model averages its steps), or metres.

        Raises:
            ValueError: fewer than one step, neither images nor features, images of a size that does not go, or noise
                of another shape.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1; got {steps}")
        if "model" in self.graphs:
            return self._at_once(images)
        if features is None:
            if images is None:
                raise ValueError("sample needs images, or their features")
            features = self.encode(images)
        shape = (len(features), self.facts["map_channels"], *features.shape[2:])
        if noise is None:
            noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        if noise.shape != shape:
            raise ValueError(f"noise has shape {noise.shape}; expected {shape}")
        noisy, decoded = noise, []
        for now, following in time_pairs(steps, self.facts["time_difference"]):
            time = np.full(len(features), now, np.float32)
            prediction, clean = self.graphs["step"](features, noisy, time)
            decoded.append(prediction)
            noisy = ddim_step(noisy, clean, now, following, self.facts["schedule"])
        return self._finish(decoded)

    def predict(self, pictures: Array, steps: int = 3, seed: int | np.random.Generator = 0) -> Array:
        """Return the maps of RGB pictures, uint8 (B, H, W, 3) or one (H, W, 3), at their size.

        Returns:
            Without the leading B for one picture: classes (B, H, W), int64; or values (B, C, H, W), float32, of
            ``facts["output"]``; C left out where it is 1.
        """
        images = self.normalise(pictures if pictures.ndim == 4 else pictures[None])
        if "model" in self.graphs:
            maps = self._at_once(_padded(images, self.facts["multiple"]))[..., : images.shape[2], : images.shape[3]]
        else:
            maps = resize(self.sample(images, steps, seed=seed), images.shape[2:])
        if self.facts["output"]["kind"] == "scores":
            maps = maps.argmax(1)
        elif maps.shape[1] == 1:
            maps = maps[:, 0]
        return maps if pictures.ndim == 4 else maps[0]

    def _at_once(self, images: Array | None) -> Array:
        """Return the map (B, C, H, W) of normalised images by the one graph that the model is."""
        multiple = self.facts["multiple"]
        if images is None or any(length % multiple for length in images.shape[2:]):
            got = "none" if images is None else images.shape
            raise ValueError(f"this model takes images (B, 3, H, W) of multiples of {multiple} pixels; got {got}")
        return self.graphs["model"](images)[0]

    def _finish(self, decoded: list[Array]) -> Array:
        average, output = self.facts["average_steps"], self.facts["output"]
        if output["kind"] == "scores":
            return np.mean([_softmax(step) for step in decoded], axis=0) if average else decoded[-1]
        values = np.mean(decoded, axis=0) if average else decoded[-1]
        return np.clip(values, output["low"], output["high"])


def time_pairs(steps: int, time_difference: int) -> list[tuple[float, float]]:
    """Return the (now, next) of each step, from t = 1 down; see :func:`ddp_repro.diffusion.samplers.time_pairs`."""
    return [(1 - step / steps, max(1 - (step + 1 + time_difference) / steps, 0.0)) for step in range(steps)]


def ddim_step(noisy: Array, clean: Array, now: float, following: float, schedule: str) -> Array:
    """Return the map at the next time: the noise that explains ``noisy`` given ``clean``, at the next noise level."""
    (alpha_now, sigma_now), (alpha_next, sigma_next) = (alpha_sigma(t, schedule) for t in (now, following))
    kept = sigma_next / max(sigma_now, np.float32(MIN_SIGMA))
    return kept * noisy + (alpha_next - kept * alpha_now) * clean


def alpha_sigma(t: float, schedule: str) -> tuple[np.float32, np.float32]:
    """Return the amplitudes of signal and noise at time t, in the single precision that the weights were trained with.

    Raises:
        ValueError: an unknown schedule.
    """
    if schedule == "linear":
        ratio = np.exp(-np.log(np.expm1(np.float64(np.float32(1e-4) + np.float32(10) * np.float32(t) ** 2))))
    elif schedule in ("cosine", "gamma"):
        angle = (np.float32(t) + np.float32(OFFSET_START)) / np.float32(1 + OFFSET_SCALE) * np.float32(math.pi)
        power = np.float32(np.cos(np.float64(angle * np.float32(0.5)))) ** 2
        if schedule == "gamma":
            return np.float32(np.sqrt(power)), np.float32(np.sqrt(1 - power))
        ratio = 1 / max(1 / power - 1, MIN_INVERSE_SNR)
    else:
        raise ValueError(f"no schedule {schedule!r}; there are cosine, linear and gamma")
    return np.float32(np.sqrt(ratio / (1 + ratio))), np.float32(np.sqrt(1 / (1 + ratio)))


def resize(maps: Array, size: Sequence[int]) -> Array:
    """Return maps (B, C, h, w) at another size by bilinear interpolation between pixel centres, edges repeated."""
    for axis, length in zip((2, 3), size, strict=True):
        old = maps.shape[axis]
        if old == length:
            continue
        place = np.maximum((np.arange(length) + 0.5) * (old / length) - 0.5, 0)
        low = np.minimum(place.astype(np.int64), old - 1)
        share = (place - low).astype(np.float32).reshape(-1, *([1] * (3 - axis)))
        maps = maps.take(low, axis) * (1 - share) + maps.take(np.minimum(low + 1, old - 1), axis) * share
    return maps


def _padded(images: Array, multiple: int) -> Array:
    """Return images (B, C, H, W) with their last rows and columns repeated up to multiples of a number of pixels."""
    height, width = images.shape[2:]
    return np.pad(images, ((0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)), mode="edge")


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _by_position(session: Any, names: Sequence[str]) -> Graph:
    def run(*inputs: Array) -> Sequence[Array]:
        return session.run(None, dict(zip(names, inputs, strict=True)))

    return run
