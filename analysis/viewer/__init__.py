"""The viewer in a report: images of a run with their CT numbers, in a page that fetches nothing.

`pack` turns images into text for the page, `sets` says which images of a study belong together,
`section` makes the HTML. The page's own program is `numbers.js` (decoding and statistics),
`picture.js` (drawing), `page.js` (what is shown) and `controls.js` (mouse, keys, address); its look
is `page.css`. `page` puts them together.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
