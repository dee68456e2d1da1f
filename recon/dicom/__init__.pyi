from .images import CTImages as CTImages
from .images import read_images as read_images
from .write import write_series as write_series
