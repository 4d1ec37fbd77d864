"""What an input must be before the model sees it: each check a configured value, each outcome a sentence and a figure.

``reading`` looks at an archive's own points, field by field, before they are averaged; ``judging`` at the gridded
fields, beside yesterday's analysis, yesterday's forecast and the climatology. ``limits`` has every threshold and where
it came from; ``report`` is what a run keeps of it all, ``picture`` draws the field that was found wanting.
"""
