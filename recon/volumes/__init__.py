"""Voxel volumes of other formats, NIfTI and NRRD, in the axes and the order of a DICOM series."""
