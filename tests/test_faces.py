"""What one sees of the packages at a prompt: help that fits a page, each name once."""

import pydoc

import pytest

import analysis
import ctxai
import recon

FACES = (recon, ctxai, analysis)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_help_is_short(face) -> None:
    assert len(pydoc.render_doc(face).splitlines()) < 120


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_each_name_is_listed_once(face) -> None:
    names = face.__dir__()
    assert len(names) == len(set(names))
