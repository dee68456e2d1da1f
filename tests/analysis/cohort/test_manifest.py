"""What a manifest says, and what it may not say."""

import pytest

from analysis.cohort.manifest import read_manifest
from recon import DataError


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_csv_and_toml_say_the_same(tmp_path):
    csv = write(
        tmp_path, "a.csv",
        "patient,images,study,denoiser,mas,tolerance-hu,z-range\n"
        "007,ct/A,target-domain,chen; yang,5; 10.5,2,-60 20\n\n"
        "B,/ct/B,target-domain,mine.py:make,10,,\n",
    )  # fmt: skip
    toml = write(
        tmp_path, "a.toml",
        'study = "target-domain"\nmas = 10\n'
        '[[row]]\npatient = "007"\nimages = "ct/A"\ndenoiser = ["chen", "yang"]\nmas = [5, 10.5]\n'
        'tolerance_hu = 2\nz_range = "-60 20"\n'
        '[[row]]\npatient = "B"\nimages = "/ct/B"\ndenoiser = "mine.py:make"\n',
    )  # fmt: skip
    rows = read_manifest(csv)
    plain = [{k: v for k, v in row.items() if k != "where"} for row in rows]
    assert [(row["denoiser"], row["mas"]) for row in rows[:4]] == [
        ("chen", 5), ("chen", 10.5), ("yang", 5), ("yang", 10.5),
    ]  # fmt: skip
    assert plain[0] == {
        "patient": "007", "images": str(tmp_path / "ct/A"), "study": "target-domain",
        "denoiser": "chen", "mas": 5, "tolerance_hu": 2, "z_range": (-60, 20), "series": "A",
    }  # fmt: skip
    assert rows[4]["images"] == "/ct/B" and rows[4]["where"].endswith("line 4")
    assert rows[4]["denoiser"] == f"{tmp_path}/mine.py:make"

    def in_order(rows):
        return sorted(repr(sorted((k, v) for k, v in row.items() if k != "where")) for row in rows)

    assert in_order(read_manifest(toml)) == in_order(rows)


HEAD = "patient,images,study,denoiser"


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("a.txt", "", "no manifest"),
        ("a.csv", "", "no rows"),
        ("a.csv", f"{HEAD}\n", "no rows"),
        ("a.csv", f"{HEAD}\nA,a,target-domain\n", "line 2"),
        ("a.csv", "patient,patient\nA,B\n", "stands twice"),
        ("a.csv", f"{HEAD}\n,a,target-domain,chen\n", "without a patient"),
        ("a.csv", f"{HEAD}\nA,a,,chen\n", "without a study"),
        ("a.csv", f"{HEAD}\nA,,target-domain,chen\n", "without an input"),
        ("a.csv", f"{HEAD},scan\nA,a,target-domain,chen,b\n", "or with two"),
        ("a.csv", f"{HEAD},places,slice\nA,a,target-domain,chen,2,3\n", "drawn and named"),
        ("a.csv", f"{HEAD},row\nA,a,target-domain,chen,2\n", "a row and a col"),
        ("a.csv", f"{HEAD},places\nA,a,target-domain,chen,1.5\n", "no whole number"),
        ("a.toml", "study = \n", "no TOML"),
        ("a.toml", "[rows]\nx = 1\n", "no such table"),
        ("a.toml", "row = 3\n", "[[row]]"),
    ],
)
def test_what_it_may_not_say_is_told_in_one_line(tmp_path, name, text, said):
    with pytest.raises(DataError) as error:
        read_manifest(write(tmp_path, name, text))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(tmp_path / "no.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="UTF-8"):
        read_manifest(tmp_path / "b.csv")
