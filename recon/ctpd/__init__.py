"""Projections as files: DICOM-CT-PD series, read, checked and written."""
