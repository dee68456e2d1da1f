"""CT images as DICOM files: reading a series, writing a derived one, and where elements lie."""
