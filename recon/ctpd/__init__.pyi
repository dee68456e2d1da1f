from .read import read_scan as read_scan
from .write import write_scan as write_scan
