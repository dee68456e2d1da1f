"""A network in an ONNX file: run by onnxruntime, so that it has answers but no Jacobian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.errors import DataError

__all__ = ["OnnxDenoiser"]

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class OnnxDenoiser:
    """A network in an ONNX file as a function of images (B, 1, H, W).

    Needs the package onnxruntime, the extra ``onnx``.

    Parameters
    ----------
    path : path

    Raises
    ------
    DataError
        If onnxruntime is not there, or the file is no network of one image.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError("denoiser file not found", where=path)
        try:
            import onnxruntime
        except ImportError:
            raise DataError(
                "a network in an ONNX file needs onnxruntime",
                where=path,
                remedy='pip install "ctxai-invariances[onnx]", or pip install onnxruntime',
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of onnxruntime, which has no common class for them
            raise DataError("ONNX file cannot be read", where=path, got=error) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type not in _TYPES:
            raise DataError(
                "not a network of one image",
                where=path,
                expected="one input and one output of floating-point numbers",
                got=", ".join(f"{i.name}: {i.type}" for i in [*inputs, *outputs]),
            )
        self._input = inputs[0].name
        self._type = _TYPES[inputs[0].type]

    def __call__(self, x: Tensor) -> Tensor:
        """Denoise images (B, 1, H, W)."""
        try:
            images = x.detach().cpu().numpy().astype(self._type)
        except RuntimeError:  # of a tensor that is being differentiated
            raise DataError(
                "a network in an ONNX file has answers, but no Jacobian",
                remedy="bring it as a torch module, TorchScript or exported program",
            ) from None
        (answer,) = self._session.run(None, {self._input: images})
        return torch.from_numpy(np.asarray(answer, np.float32)).to(x.device)
