"""A real CT slice, for every test that reads one."""

import shutil

import pytest
from pydicom.data import get_testdata_file


@pytest.fixture
def small(tmp_path):
    """Return pydicom's real slice, alone in a folder."""
    folder = tmp_path / "scan"
    folder.mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "a.dcm")
    return folder
