from .data.phantom_pairs import WorkingPoint as WorkingPoint
from .data.phantom_pairs import phantom_pairs as phantom_pairs
from .fidelity.curve import diversity_curve as diversity_curve
from .invariances.study import invariance_study as invariance_study
from .lesions.lesion import Lesion as Lesion
from .numbers import coverage as coverage
from .numbers import ideal_coverage as ideal_coverage
from .report.export import export_dicom as export_dicom
from .report.export import export_figures as export_figures
from .report.page import write_report as write_report
from .report.record import study_of as study_of
from .runs.store import Study as Study
from .runs.store import read_run as read_run
from .runs.store import write_run as write_run
from .scanner.low_dose import low_dose_slices as low_dose_slices
from .scanner.slice_scanner import SliceScanner as SliceScanner
from .scanner.slices import place_patch as place_patch
from .target_domain.study import target_domain_study as target_domain_study
from .training.presets import PRESETS as PRESETS
from .training.recipes import train_all as train_all
from .training.recipes import train_for as train_for
from .training.stages import Recipe as Recipe

__version__: str
