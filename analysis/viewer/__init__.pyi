from .pack import Packer as Packer
from .pack import unpack as unpack
from .page import policy as policy
from .page import section as section
from .page import style as style
from .sets import image_sets as image_sets
