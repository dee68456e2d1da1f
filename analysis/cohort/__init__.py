"""A study of many patients: a manifest becomes cells, and their results one table and one report.

manifest.py    rows of a CSV or TOML file, each a patient's images or scan and what is asked of it
inputs.py      digests of what the rows name, remembered by size and time of the files
places.py      where in a patient, where the manifest asks for some number of places
cells.py       one cell for each combination: what it computes, its digest, its seed
work.py        a cell is carried out: one thread, quiet, its failure one line
ledger.py      the folder of a cohort: which cells are there, which failed, what a kill left
engines.py     processes of this machine
cluster.py     a Dask scheduler
table.py       one tidy table of all cells
statistics.py  patients drawn anew as wholes, signs turned, many comparisons at once
summary.py     means over patients and differences of networks
figures.py     distributions over patients
page.py        the report of a cohort
"""
